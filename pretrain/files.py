"""Files that survive a power cut, of which a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def replace(path: Path, content: bytes | str) -> None:
    """Put `content` in the place of `path`: written aside, flushed to disk, renamed, and the name on disk."""
    put(path, content)
    sync(path.parent)


def put(path: Path, content: bytes | str) -> None:
    """As `replace`, but the new name may be lost with the power until its folder is synced."""
    data = content.encode() if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
