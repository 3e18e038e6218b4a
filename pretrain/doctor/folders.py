"""The folders of a run: whether they can be written, and whether its checkpoints have room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pretrain.doctor.finding import Finding, note, ok, problem
from pretrain.monitor.words import size

LITTLE_ROOM = 10 * 10**9  # bytes, where nobody says what is needed


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """What was tried in a folder, or in the nearest one above it that exists."""

    path: str
    error: str | None  # why nothing can be written there
    free_bytes: int
    free_inodes: int | None  # None: the file system does not count them


def folder(check: str, path: Path, needed_bytes: int | None, peak_bytes: int | None) -> Iterator[Finding]:
    """Whether `path` will do. `needed_bytes`: at least; `peak_bytes`: in all."""
    yield from judge(check, look(path), needed_bytes, peak_bytes)


def look(path: Path) -> FolderFacts:
    """Write a small file there and delete it."""
    there = existing(path)
    probe = there / f".doctor.{os.getpid()}"
    try:
        probe.write_bytes(b"doctor")
        probe.unlink()
        error = None
    except OSError as failed:
        error = failed.strerror or str(failed)
    status = os.statvfs(there)
    return FolderFacts(
        path=str(path) if there == path.expanduser().absolute() else f"{path} (to be made in {there})",
        error=error,
        free_bytes=shutil.disk_usage(there).free,
        free_inodes=status.f_favail if status.f_files else None,
    )


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it."""
    whole = path.expanduser().absolute()
    return next(one for one in (whole, *whole.parents) if one.is_dir())


def judge(
    check: str, facts: FolderFacts, needed_bytes: int | None, peak_bytes: int | None
) -> Iterator[Finding]:
    """`needed_bytes`: None where no config says."""
    text = f"{facts.path}: {size(facts.free_bytes)} free"
    if facts.error:
        advice = "choose another (run.root, data.root), or change its owner"
        yield problem(check, f"{facts.path}: cannot be written: {facts.error}", advice)
    elif facts.free_inodes is not None and facts.free_inodes < 1000:
        yield problem(
            check, f"{text}, and only {facts.free_inodes} files may be made", "delete small files there"
        )
    elif needed_bytes is not None and facts.free_bytes < needed_bytes:
        advice = "make room, or choose another folder"
        yield problem(check, f"{text}, and {size(needed_bytes)} are needed", advice)
    elif peak_bytes is not None and facts.free_bytes < peak_bytes:
        advice = "make room, lower checkpoint.keep_last or raise checkpoint.keep_every"
        yield note(check, f"{text}, and the run will hold up to {size(peak_bytes)}", advice)
    elif needed_bytes is None and facts.free_bytes < LITTLE_ROOM:
        yield note(check, text, "that is little; --config says what a run needs")
    else:
        yield ok(check, text)
