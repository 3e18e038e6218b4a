"""Folders that are there whole or not at all, built by one process at a time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.files import sync

BUILDING = "building-"


@contextmanager
def locked(root: Path, waiting: Callable[[], None], *, shared: bool = False) -> Iterator[None]:
    """Hold the right to build below `root`; calls `waiting` first if another process has it.

    The lock goes with its process, so a kill leaves none behind. On a file system without locks two builds
    work twice: they write the same bytes to the same names, and the first to end counts.
    """
    root.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, kind)
        except OSError:
            pass
        yield


def remove_others(root: Path, mine: set[Path]) -> None:
    """Remove what killed builds of other inputs left below `root`."""
    for left in root.glob(f"{BUILDING}*"):
        if left not in mine:
            shutil.rmtree(left, ignore_errors=True)


def publish(built: Path, folder: Path) -> None:
    """Give a finished folder its name; if another process was first, its folder stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        built.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    sync(folder.parent)


def fresh(folder: Path) -> Path:
    """An empty folder of this name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
