"""One rank's part of a checkpoint on the disk: written, looked for by the first rank, removed if in vain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain.checkpoint.staging import Share
from pretrain.checkpoint.tensor_file import write_tensor_file

Files = dict[str, dict[str, Any]]
VISIBLE_SECONDS = 60.0  # after which a shared file system shows what another machine wrote
POLL_SECONDS = 0.05


class NotShared(Exception):
    """A rank does not see what another one wrote."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"run.root: {path} was written by another rank and is not there on this one. All machines of "
            "a run need the same folder; put run.root on a file system that they share."
        )


def write_share(folder: Path, share: Share) -> Files:
    """Write a rank's files, on the disk when it returns; what the manifest says of them."""
    return {name: write_tensor_file(folder / name, tensors) for name, tensors in share.files.items()}


def remove_share(folder: Path, share: Share) -> None:
    """Free the space of what was written, as far as it was."""
    for name in share.files:
        (folder / name).unlink(missing_ok=True)


def await_folder(folder: Path) -> None:
    """Wait until the first rank's folder is to be seen; NotShared where it does not come."""
    until = time.monotonic() + VISIBLE_SECONDS
    while not folder.is_dir():
        if time.monotonic() >= until:
            raise NotShared(folder)
        time.sleep(POLL_SECONDS)


def await_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Wait until every rank's files are to be seen in full; NotShared where one does not come."""
    until = time.monotonic() + VISIBLE_SECONDS
    for name, entry in files.items():
        while not _is_there(folder / name, entry["bytes"]):
            if time.monotonic() >= until:
                raise NotShared(folder / name)
            time.sleep(POLL_SECONDS)


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
