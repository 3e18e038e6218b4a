"""Whether to stop after the current update: a request, a stop file, a time limit."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from pretrain.guard.options import GuardOptions
from pretrain.guard.signals import StopRequests

REMEMBERED = 16  # recent times of each kind that the time limit leaves room for


class StopWatch:
    """Collects reasons to stop. One rank's reason is enough: the loop asks all ranks each update."""

    def __init__(
        self, options: GuardOptions, run_folder: Path, requests: StopRequests, *, first: bool
    ) -> None:
        self.requests = requests
        self.max_seconds = options.max_seconds
        # one rank looks for the file: a thousand that do would be a load on a shared file system
        self.stop_file = run_folder / options.stop_file if first else None
        self._took: dict[str, deque[float]] = {}

    def took(self, what: str, seconds: float) -> None:
        """Note what an update or a save has taken: the time limit leaves room for one more of each."""
        self._took.setdefault(what, deque(maxlen=REMEMBERED)).append(seconds)

    def reason(self) -> str | None:
        """Why this process wants to stop, or None."""
        if self.requests.reason:
            return self.requests.reason
        if self.stop_file is not None and self.stop_file.exists():
            return f"{self.stop_file} exists; remove it before the run goes on"
        if self.max_seconds is not None and self._seconds_needed() >= self.max_seconds:
            return f"guard.max_seconds={self.max_seconds:g} reached"
        return None

    def _seconds_needed(self) -> float:
        """From the beginning of the job to the end of one more update and a save, by recent times."""
        passed = time.monotonic() - self.requests.began
        return passed + sum(max(recent) for recent in self._took.values())
