"""The page of a run, kept up while it goes on: seldom enough to cost little, and never a reason to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

SHARE = 0.01  # of the time that may go into the page


class Pages:
    """Writes the page of a run again and again, no more often than its cost allows."""

    def __init__(
        self,
        write: Callable[[Path], object],
        run_folder: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._run_folder = run_folder
        self._say = say
        self._clock = clock
        self._not_before = clock()
        self._failed = False

    def update(self) -> None:
        """Write it, unless the last time is too close; one that fails is said once."""
        began = self._clock()
        if began < self._not_before:
            return
        try:
            self._write(self._run_folder)
        except Exception as error:  # a page is no reason to stop a run
            if not self._failed:
                self._say(f"Warning: the report could not be written: {type(error).__name__}: {error}")
            self._failed = True
        ended = self._clock()
        self._not_before = ended + (ended - began) / SHARE
