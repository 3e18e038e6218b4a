"""Disk space: a save that will not fit is refused before it begins, and says what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from pretrain.files import FULL
from pretrain.monitor.words import size

_ADVICE = (
    "Delete what is not needed there, lower checkpoint.keep_last or raise checkpoint.keep_every. "
    "Older checkpoints are as they were."
)


def needed_bytes(tensor_bytes: int) -> int:
    """Of a checkpoint: its tensors, and room for state.json, headers and what else the run writes."""
    return tensor_bytes + tensor_bytes // 64 + 2**20


def check_space(root: Path, needed: int) -> None:
    """OSError where less than `needed` bytes are free."""
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(errno.ENOSPC, _full(root, needed, free))


def explain(error: BaseException, root: Path, needed: int) -> str:
    """What went wrong while a checkpoint was written, in words that help."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    if error.errno in FULL and error.strerror and not error.strerror.startswith(str(root)):
        return _full(root, needed, shutil.disk_usage(root).free)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _full(root: Path, needed: int, free: int) -> str:
    return f"{root}: no space left, a checkpoint needs {size(needed)} and {size(free)} are free. {_ADVICE}"
