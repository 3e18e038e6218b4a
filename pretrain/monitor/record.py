"""The record of a run: files of one JSON object a line, appended while it runs, cut back on a resume.

metrics.jsonl holds what is deterministic, timing.jsonl what the machine did, events.jsonl what happened to
the run. JSON has no NaN and no infinity: both are written as null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pretrain.errors import UserError
from pretrain.files import replace

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
EVENTS = "events.jsonl"


class JsonLines:
    """A file that grows by one JSON object at a time, which a kill cannot take back once it is appended."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        self._file = path.open("ab")

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line; keys keep their order, so equal values make equal bytes."""
        text = json.dumps(_finite(line), separators=(",", ":"), allow_nan=False)
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until the lines would survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Record:
    """The three files of a run folder, open for writing."""

    def __init__(self, run_folder: Path) -> None:
        self.metrics = JsonLines(run_folder / METRICS)
        self.timing = JsonLines(run_folder / TIMING)
        self._events = JsonLines(run_folder / EVENTS)

    def event(self, event: str, **facts: Any) -> None:
        """Say that something happened to the run, now."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"time": now, "event": event, **facts})

    def sync(self) -> None:
        """Wait until everything would survive a power cut: before a checkpoint that relies on it."""
        for file in (self.metrics, self.timing, self._events):
            file.sync()

    def close(self) -> None:
        """Close all three."""
        for file in (self.metrics, self.timing, self._events):
            file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Every line of the file; a torn last line is not one, and an absent file has none."""
    return [line for _, line in _lines(path)]


def rewind(run_folder: Path, step: int) -> None:
    """Take the record back to `step`: later lines move to metrics.discarded.jsonl, timing.discarded.jsonl.

    Kept lines keep their bytes. Killed at any moment, it can be run again and loses no line.
    """
    for name in (METRICS, TIMING):
        path = run_folder / name
        if path.exists():
            _move_later_lines(path, path.with_suffix(".discarded.jsonl"), step)


def _move_later_lines(path: Path, discarded: Path, step: int) -> None:
    lines = _lines(path)
    later = b"".join(raw for raw, line in lines if line.get("step", 0) > step)
    kept = b"".join(raw for raw, line in lines if line.get("step", 0) <= step)
    already = discarded.read_bytes() if discarded.exists() else b""
    # a kill between the two files leaves the lines in both; they need not be moved again
    if later and not already.endswith(later):
        replace(discarded, already + later)
    if kept != path.read_bytes():
        replace(path, kept)


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Each whole line as it stands in the file and as it reads."""
    raws = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    lines = []
    for number, raw in enumerate(raws, start=1):
        try:
            line = json.loads(raw)
            if not (raw.endswith(b"\n") and isinstance(line, dict)):
                raise ValueError("not a whole JSON object")
        except ValueError:
            if number == len(raws):
                break
            raise UserError(
                f"{path}, line {number}: not a JSON object. Mend the line or move the file away."
            ) from None
        lines.append((raw, line))
    return lines


def _drop_torn_line(path: Path) -> None:
    """Cut off what a kill left of a line, so that the next one does not continue it."""
    if path.exists():
        os.truncate(path, sum(len(raw) for raw, _ in _lines(path)))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
