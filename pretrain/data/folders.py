"""Folders that are there whole or not at all, built by one process at a time."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.files import sync

BUILDING = "building-"


@contextmanager
def locked(root: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the right to build below `root`; calls `waiting` first if another process has it.

    The lock goes with its process, so a kill leaves none behind; what a killed build left is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        if _lock(file.fileno(), waiting):
            for left in root.glob(f"{BUILDING}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield


def _lock(file: int, waiting: Callable[[], None]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks: two builds then work twice, and the first to end counts
        return False
    return True


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A folder for work in progress, on the same file system as the results; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=BUILDING, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(built: Path, folder: Path) -> None:
    """Give a finished folder its name; if another process was first, its folder stays."""
    built.chmod(0o755)  # mkdtemp's is for its owner alone
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        built.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    sync(folder.parent)
