"""Where the time of a run went: its goodput, as a bar and a table."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pretrain.errors import UserError
from pretrain.monitor.goodput import Goodput, goodput
from pretrain.monitor.record import TIMING
from pretrain.monitor.words import duration
from pretrain.page import marked_grid, note, text

MEANINGS = {
    "setup": "from the beginning of a process to its first update",
    "evaluation": "held-out loss, benchmarks and samples inside the loop",
    "saving": "what saving keeps the training from",
    "thrown_away": "updates that a kill, a stop or a rewind took back, and the way back",
    "left_out": "updates that a spike kept from the weights",
    "down": "between the last sign of a process and the next start",
    "other": "between updates and none of these, or not measured",
}
MOST_BYTES = 50_000_000  # of timing.jsonl; more takes longer than the rest of the page
TRAINED = "trained"
COLOURS = {TRAINED: "--good", "setup": "--c5", "evaluation": "--c0", "saving": "--c7", "thrown_away": "--bad"}
COLOURS |= {"left_out": "--c4", "down": "--c6", "other": "--line"}


def known_goodput(run_folder: Path, now: datetime | None = None) -> Goodput | None:
    """None of a run that has not begun, or whose record is too damaged or too long to be added up here."""
    timing = run_folder / TIMING
    if timing.is_file() and timing.stat().st_size > MOST_BYTES:
        return None
    try:
        found = goodput(run_folder, now)
    except (UserError, KeyError, TypeError, ValueError, OSError):
        return None
    return found if found.seconds > 0 else None


def hours(found: Goodput | None) -> str:
    """The parts of the wall time; they add up to the whole."""
    if found is None:
        return ""
    parts = {TRAINED: found.trained_seconds, **found.lost_seconds}
    shares = {name: seconds / found.seconds for name, seconds in parts.items() if seconds > 0}
    bar = "".join(
        f'<span style="width:{share:.3%};background:var({COLOURS.get(name, "--c3")})" '
        f'title="{text(_words(name))}: {share:.1%}"></span>'
        for name, share in shares.items()
    )
    rows = [
        [_swatch(name) + text(_words(name)), duration(parts[name]), f"{share:.1%}", text(_meaning(name))]
        for name, share in shares.items()
    ]
    starts = f"{found.starts} starts" if found.starts != 1 else "one start"
    return (
        f'<div class="sum" role="img" aria-label="shares of the time, as in the table">{bar}</div>'
        + marked_grid(("part", "time", "share", "what it is"), rows, "named reasoned")
        + note(f"Of {duration(found.seconds)}, {starts}.")
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _meaning(name: str) -> str:
    return "updates that are kept" if name == TRAINED else MEANINGS.get(name, "")


def _swatch(name: str) -> str:
    return f'<i class="swatch" style="background:var({COLOURS.get(name, "--c3")})"></i>'
