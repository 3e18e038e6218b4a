"""How fast a folder's disk is, written through and read back, against the checkpoints that it shall hold."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from pretrain.doctor.finding import Finding, note, ok, planned, problem
from pretrain.doctor.folders import existing
from pretrain.monitor.words import duration, size

CHUNK, CHUNKS = 2**22, 64  # bytes: 256 MiB in all
SECONDS = 20.0  # of writing, after which no further chunk is written
SLOW = 50e6  # bytes a second
BUSY = 0.5  # of the time between checkpoints


def disk(
    check: str,
    path: Path,
    one_bytes: int | None,
    seconds_between: float | None,
    planned_for: str | None = None,
) -> Iterator[Finding]:
    """`one_bytes`: of a checkpoint; `seconds_between`: from one to the next, as planned for that machine."""
    yield judge(check, *measure(existing(path)), one_bytes, seconds_between, planned_for)


def measure(path: Path) -> tuple[float, float]:
    """Bytes a second, written and read; the file is deleted."""
    file = path / f".doctor.{os.getpid()}.speed"
    chunk = os.urandom(CHUNK)
    try:
        written, writing = _write(file, chunk)
        return written / writing, written / _read(file)
    finally:
        file.unlink(missing_ok=True)


def _write(file: Path, chunk: bytes) -> tuple[int, float]:
    start, written = time.perf_counter(), 0
    with file.open("wb", buffering=0) as out:
        while written < CHUNKS * CHUNK and time.perf_counter() - start < SECONDS:
            written += out.write(chunk)
        os.fsync(out.fileno())
        took = time.perf_counter() - start
        # or else the file would be read from memory; some file systems keep it all the same
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return written, took


def _read(file: Path) -> float:
    start = time.perf_counter()
    with file.open("rb", buffering=0) as source:
        while source.read(CHUNK):
            pass
    return time.perf_counter() - start


def judge(
    check: str,
    write: float,
    read: float,
    one_bytes: int | None,
    seconds_between: float | None,
    planned_for: str | None = None,
) -> Finding:
    """`write`, `read`: bytes a second."""
    text = f"writes {size(write)}/s, reads {size(read)}/s"
    if one_bytes is not None:
        takes = one_bytes / write
        text += f"; a checkpoint of {size(one_bytes)} takes {duration(takes)}"
        if seconds_between is not None and takes > BUSY * seconds_between:
            return problem(
                check,
                f"{text}, and one is due every {duration(seconds_between)}{planned(planned_for)}",
                "a faster disk, or a larger checkpoint.every_steps",
            )
    if write < SLOW:
        return note(check, text, "that is slow; is it a network file system, or full of small files?")
    return ok(check, text)
