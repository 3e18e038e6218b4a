"""Whether to stop after the current update: signals, a stop file, a time limit, a lost launcher."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from pretrain.guard.options import GuardOptions

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """When this job began and under whom; taken before the preparation, during which either may pass."""

    seconds: float = field(default_factory=time.monotonic)
    launchers: tuple[int, int] = field(default_factory=lambda: _launchers())


class StopWatch:
    """Collects reasons to stop. One rank's reason is enough: the loop asks all ranks each update."""

    def __init__(self, options: GuardOptions, run_folder: Path, began: Beginning | None = None) -> None:
        self.began = began or Beginning()
        self.max_seconds = options.max_seconds
        self.stop_file = run_folder / options.stop_file
        self.signalled: str | None = None
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT and self.signalled == name:
            os._exit(128 + number)  # a second Ctrl-C means now
        self.signalled = self.signalled or name

    def reason(self) -> str | None:
        """Why this process wants to stop, or None."""
        if self.signalled:
            return f"received {self.signalled}"
        if self.max_seconds is not None and time.monotonic() - self.began.seconds >= self.max_seconds:
            return f"guard.max_seconds={self.max_seconds:g} reached"
        if self.stop_file.exists():
            return f"{self.stop_file} exists; remove it before the run goes on"
        if _launchers() != self.began.launchers:
            return "the launcher is gone"
        return None


def _launchers() -> tuple[int, int]:
    """The parent; and its parent where that is the deepspeed command, which leaves its launcher behind."""
    parent = os.getppid()
    try:
        fields = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, IndexError):
        return parent, 0
    return parent, int(fields[1]) if b"deepspeed.launcher" in command else 0
