"""Requests to stop that reach this process: signals, and the loss of its launcher.

A thread takes them in, so that they are noticed while the main thread waits inside a call that runs no
Python (another rank, a file system). Loads nothing heavy: it is made before anything else is imported.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
SAME_PRESS_SECONDS = 1.0  # a launcher may pass on the Ctrl-C that the terminal has already sent
PASSED_ON = f"received {signal.SIGTERM.name}"
LAUNCHER_SECONDS = 1.0  # between two looks at whether the launcher lives


class Stopped(BaseException):
    """A request to stop, met before training began. No Exception: preparation must not swallow it."""


class StopRequests:
    """Why this process should stop, if it should, and when it began. Made once, by the main thread."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.reason: str | None = None
        self._interrupting = False
        self._interrupted: float | None = None  # when Ctrl-C was first pressed
        self._launchers = launchers()
        self._heard, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: the terminal may go
            signal.signal(number, self._on_signal)
        os.register_at_fork(after_in_child=_forget)
        threading.Thread(target=self._listen, name="stop requests", daemon=True).start()

    def ask(self, reason: str) -> None:
        """Ask this process to stop; the first reason counts. Any thread may."""
        self.reason = self.reason or reason
        if self._interrupting and threading.current_thread() is not threading.main_thread():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)  # wakes it to raise

    def check(self) -> None:
        """Raises Stopped where something asked."""
        if self.reason:
            raise Stopped(self.reason)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within it a request raises Stopped at once; elsewhere it waits until someone looks."""
        self._interrupting = True
        try:
            self.check()
            yield
        finally:
            self._interrupting = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._receive(number)
        if self._interrupting:
            self._interrupting = False
            self.check()

    def _listen(self) -> None:
        while True:
            if select.select([self._heard], [], [], LAUNCHER_SECONDS)[0]:
                for number in self._heard.recv(64):
                    self._take_in(number)
            elif launchers() != self._launchers:
                self.ask("the launcher is gone")

    def _take_in(self, number: int) -> None:
        if number not in SIGNALS:
            return  # of a handler that is not ours
        now = time.monotonic()
        if number == signal.SIGINT:
            self._interrupted = self._interrupted or now
            if now - self._interrupted > SAME_PRESS_SECONDS:
                os._exit(128 + number)  # a second Ctrl-C means now
        self._receive(number)

    def _receive(self, number: int) -> None:
        """Note a signal as the reason. A launcher passes Ctrl-C on as SIGTERM, which may be heard first."""
        received = f"received {signal.Signals(number).name}"
        if self.reason is None or (number == signal.SIGINT and self.reason == PASSED_ON):
            self.reason = received


def launchers() -> tuple[int, int]:
    """The parent; and its parent where that is the deepspeed command, which leaves its launcher behind."""
    parent = os.getppid()
    try:
        fields = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, IndexError):
        return parent, 0
    return parent, int(fields[1]) if b"deepspeed.launcher" in command else 0


def _forget() -> None:
    """A forked child is none of those that are asked: signals end it."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
