"""What happened to a run: its events as marks on the curves and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pretrain.page import facts_table, note
from pretrain.report.columns import Line
from pretrain.report.marks import Mark
from pretrain.report.run import RunRecord
from pretrain.report.stages import stage_ends
from pretrain.report.words import exact, figure, moment, plain

MOST_ROWS = 200
OF_A_START = ("versions", "commit", "command", "device")  # told where it is told what was run


def marks(run: RunRecord) -> list[Mark]:
    """Left out updates, rewinds, restarts, the branch and where stages begin, at their tokens."""
    happened = [mark for event in run.events if (mark := _mark(run, event))]
    return [*happened, *_stages(run)]


def event_table(run: RunRecord) -> str:
    """Every event with its time; of very many the first and the last."""
    rows = [_row(event) for event in run.events]
    half = MOST_ROWS // 2
    if len(rows) > MOST_ROWS:
        counts = Counter(str(event["event"]) for event in run.events[half:-half])
        between = ", ".join(f"{number:,} × {kind}" for kind, number in counts.most_common())
        rows = [*rows[:half], ("…", f"left out here: {between}"), *rows[-half:]]
    return facts_table(rows) + note("Times are in UTC." if rows else "")


def _mark(run: RunRecord, event: Line) -> Mark | None:
    kind, step = str(event["event"]), event.get("step")
    if kind not in ("skip", "rewind", "resume", "branch") or not isinstance(step, int | float):
        return None
    tokens = run.tokens_at(step)
    if kind == "branch" and not np.isfinite(tokens):
        tokens = float(run.first_tokens)
    if not np.isfinite(tokens):
        return None
    return Mark(kind=kind, x=tokens, says=_told(event, kind, int(step)))


def _told(event: Line, kind: str, step: int) -> str:
    if kind == "skip":
        above = f", {event['sigmas']:.3g} deviations above the usual" if event.get("sigmas") else ""
        return f"step {step:,} left out: {event.get('measure', '')} {figure(event.get('value'))}{above}"
    if kind == "rewind":
        return f"rewound from step {event.get('from_step', '?'):,} to {step:,}: {event.get('reason', '')}"
    if kind == "resume":
        return f"started again after step {step:,} ({moment(event)} UTC)"
    parent = event.get("parent")
    return f"branched from {parent.get('checkpoint')}" if isinstance(parent, dict) else "branched"


def _stages(run: RunRecord) -> Iterator[Mark]:
    """Where every stage but the first begins, as far as the run has come."""
    ends = stage_ends(run) if len(run.train) else None
    if ends is None:
        return
    for stage, begin in zip(run.config["stages"][1:], ends[:-1], strict=True):
        if run.first_tokens <= begin < run.train["tokens"][-1]:
            name = stage.get("name", "") if isinstance(stage, dict) else ""
            yield Mark(kind="stage", x=float(begin), says=f"stage {name} begins at {exact(begin)} tokens")


def _row(event: Line) -> tuple[str, str]:
    facts = {
        name: value
        for name, value in event.items()
        if name not in ("time", "event", *OF_A_START) and value is not None
    }
    told = ", ".join(f"{name.replace('_', ' ')}: {plain(value)}" for name, value in facts.items())
    return moment(event), f"{event['event']}{', ' if told else ''}{told}"
