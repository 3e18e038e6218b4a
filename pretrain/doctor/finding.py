"""What a check has found: one line, a verdict, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's report. A note is worth knowing; with a problem a run fails or crawls."""

    check: str
    verdict: Verdict
    text: str
    advice: str | None = None
    host: str | None = None  # None: this machine, or all of them


def planned(machine: str | None) -> str:
    """Behind a time that a plan says: for which machine, where that is known."""
    return f" on {machine}" if machine else ""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, verdict="ok", text=text)


def note(check: str, text: str, advice: str) -> Finding:
    """Something to know."""
    return Finding(check=check, verdict="note", text=text, advice=advice)


def problem(check: str, text: str, advice: str) -> Finding:
    """Something to mend."""
    return Finding(check=check, verdict="problem", text=text, advice=advice)
