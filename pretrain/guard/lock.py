"""One job a run folder: the second is refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pretrain.errors import UserError


class RunLock:
    """An advisory lock that the kernel drops with the process, however it ends."""

    def __init__(self, run_folder: Path) -> None:
        path = run_folder / ".lock"
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            raise UserError(
                f"{run_folder}: another job is training in this run folder (process {owner}). "
                "Wait for it, stop it, or choose another run.name."
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
