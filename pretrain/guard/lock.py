"""One job a run folder: the second is refused."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from pretrain.errors import UserError

FILE = ".lock"
POLL_SECONDS = 0.2


class RunLock:
    """An advisory lock that the kernel drops with the process, however it ends."""

    def __init__(self, run_folder: Path) -> None:
        self._file = (run_folder / FILE).open("a+")
        if not _taken(self._file):
            raise UserError(
                f"{run_folder}: another job is training in this run folder (process {_owner(self._file)}). "
                "Wait for it, stop it, or choose another run.name."
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()} on {socket.gethostname()}")
        self._file.flush()


def wait_until_free(run_folder: Path, seconds: float) -> str | None:
    """Wait for a job that is about to leave; `PROCESS on MACHINE` of one that holds the folder still."""
    until = time.monotonic() + seconds
    while True:
        try:
            with (run_folder / FILE).open("r+") as file:
                if _taken(file):
                    return None
                owner = _owner(file)
        except FileNotFoundError:
            return None
        if time.monotonic() >= until:
            return owner
        time.sleep(POLL_SECONDS)


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"
