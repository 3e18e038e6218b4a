"""Findings as lines that a terminal of any kind shows."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from pretrain.doctor.finding import Finding
from pretrain.monitor.words import printable

WIDEST = 110
VERDICT, NAME = 9, 15  # columns


def line(finding: Finding) -> str:
    """Verdict, check, what was found, and what to do; folded beside its name."""
    width = min(WIDEST, shutil.get_terminal_size((80, 24)).columns)
    head = f"{finding.verdict:<{VERDICT}}{finding.check:<{NAME}}"
    where = f"{finding.host}: " if finding.host else ""
    rows = _folded(f"{where}{finding.text}", head, width)
    if finding.advice:
        rows += _folded(f"-> {finding.advice}", " " * len(head), width)
    return "\n".join(rows)


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    problems = sum(one.verdict == "problem" for one in findings)
    notes = sum(one.verdict == "note" for one in findings)
    told = f"{problems} problem{'s' * (problems != 1)}" if problems else "No problem"
    return f"\n{told}, {notes} note{'s' * (notes != 1)}."


def _folded(text: str, head: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width=max(width, len(head) + 20),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
