"""The record of a run: files of one JSON object a line, appended while it runs, cut back on a resume.

metrics.jsonl holds what is deterministic, statistics.jsonl sizes by layer and samples.jsonl text of some
updates, timing.jsonl what the machine did, events.jsonl what happened to the run. JSON has no NaN and no
infinity: both are written as null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pretrain.errors import UserError
from pretrain.files import FULL, replace
from pretrain.finite import finite

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
STATISTICS = "statistics.jsonl"
SAMPLES = "samples.jsonl"
EVENTS = "events.jsonl"
CUT_BACK = (METRICS, TIMING, STATISTICS, SAMPLES)
WATCHED = (STATISTICS, SAMPLES)  # that only show a run: damage in them stops none


class JsonLines:
    """A file that grows by one JSON object at a time, which a kill cannot take back once it is appended."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._pending = b""  # what a full disk has not taken yet

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line; keys keep their order, so equal values make equal bytes.

        A full disk costs no line: what it does not take is kept, and written before the next.
        """
        text = json.dumps(finite(line), separators=(",", ":"), allow_nan=False)
        self._pending += text.encode() + b"\n"
        self._write()

    def sync(self) -> None:
        """Wait until the lines would survive a power cut."""
        self._write()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if not self._file.closed:
            self._write()
            self._file.close()

    def _write(self) -> None:
        while self._pending:
            try:
                written = self._file.write(self._pending)
            except OSError as error:
                if error.errno in FULL:
                    return
                raise
            self._pending = self._pending[written:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Record:
    """The files of a run folder, open for writing."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._files: dict[str, JsonLines] = {}
        for name in (METRICS, TIMING, EVENTS):
            self._file(name)

    @property
    def metrics(self) -> JsonLines:
        """Losses and rates."""
        return self._file(METRICS)

    @property
    def timing(self) -> JsonLines:
        """Seconds and speed."""
        return self._file(TIMING)

    @property
    def statistics(self) -> JsonLines:
        """Sizes by layer."""
        return self._file(STATISTICS)

    @property
    def samples(self) -> JsonLines:
        """Text that the model wrote."""
        return self._file(SAMPLES)

    def rewind(self, step: int) -> None:
        """Take all but the events back to `step`, and go on from there."""
        for name in CUT_BACK:
            if name in self._files:
                self._files.pop(name).close()
        rewind(self._folder, step)

    def event(self, event: str, **facts: Any) -> None:
        """Say that something happened to the run, now."""
        self._file(EVENTS).append({"time": now(), "event": event, **facts})

    def sync(self) -> None:
        """Wait until everything would survive a power cut: before a checkpoint that relies on it."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Close them all."""
        for file in self._files.values():
            file.close()

    def _file(self, name: str) -> JsonLines:
        if name not in self._files:
            self._files[name] = JsonLines(self._folder / name)
        return self._files[name]


def now() -> str:
    """The time in UTC, as the record writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(path: Path) -> list[dict[str, Any]]:
    """Every line of the file; a torn last line is not one, and an absent file has none."""
    return [line for _, line in _lines(path)]


def rewind(run_folder: Path, step: int) -> None:
    """Take the record back to `step`: later lines move to metrics.discarded.jsonl and its like.

    Kept lines keep their bytes. Killed at any moment, it can be run again and loses no line. UserError where
    metrics or timing are damaged; of what only shows the run a damaged file is set aside.
    """
    for name in CUT_BACK:
        path = run_folder / name
        if not path.exists():
            continue
        try:
            _move_later_lines(path, discarded(path), step)
        except UserError:
            if name not in WATCHED:
                raise
            path.replace(path.with_suffix(".damaged.jsonl"))


def discarded(path: Path) -> Path:
    """Where the lines of a file go that the run went back behind."""
    return path.with_suffix(".discarded.jsonl")


def _move_later_lines(path: Path, other: Path, step: int) -> None:
    lines = _lines(path)
    later = b"".join(raw for raw, line in lines if line.get("step", 0) > step)
    kept = b"".join(raw for raw, line in lines if line.get("step", 0) <= step)
    already = other.read_bytes() if other.exists() else b""
    # a kill between the two files leaves the lines in both; they need not be moved again
    if later and not already.endswith(later):
        replace(other, already + later)
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
