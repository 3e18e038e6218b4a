"""Finished trials as a file of JSON lines: appended whole, read back by key, a torn last line left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.lr_transfer.train import Outcome
from benchmarks.lr_transfer.trial import Trial, trial_of


def append(file: Path, trial: Trial, outcome: Outcome) -> None:
    """Add a line, in one write, and wait until it is on the disk."""
    line = json.dumps({"trial": asdict(trial), "outcome": asdict(outcome)}, allow_nan=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    before = b"" if ends_a_line(file) else b"\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, before + line.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ends_a_line(file: Path) -> bool:
    """Whether the next line can begin at the end of this file."""
    if not file.exists() or not file.stat().st_size:
        return True
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read() == b"\n"


def lines(file: Path) -> Iterator[tuple[Trial, Outcome]]:
    """Every whole line, oldest first."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by a power cut: the trial is made again
        yield trial_of(fields["trial"]), Outcome(**fields["outcome"])


def outcomes(file: Path) -> dict[str, Outcome]:
    """What became of every trial in the file, by key."""
    return {trial.key: outcome for trial, outcome in lines(file)}
