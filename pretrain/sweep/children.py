"""The runs that are under way, started through the nursery: a new one now, news of the others when asked."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 300.0  # a cold disk reads torch slowly


@dataclass(frozen=True, kw_only=True)
class Gone:
    """A run's process that is no more."""

    name: str
    code: int  # minus the signal, where one ended it


class Children:
    """One nursery and its runs."""

    def __init__(self, jobs: int, log: Path, keep_open: Sequence[int] = ()) -> None:
        """`keep_open`: file descriptors that live as long as any of the runs does."""
        self.jobs, self._log, self._keep_open = jobs, log, tuple(keep_open)
        self._nursery: subprocess.Popen[bytes] | None = None  # until there is something to run
        self._rest = b""
        self._free = list(range(jobs))
        self._slots: dict[str, int] = {}
        self._pids: dict[str, int] = {}

    def _open(self) -> subprocess.Popen[bytes]:
        """The nursery, ready for orders."""
        self._news, theirs = os.pipe()
        with self._log.open("ab") as output:
            self._nursery = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pretrain.sweep.nursery"),
                    *(str(self.jobs), str(theirs), str(os.getpid())),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(theirs, *self._keep_open),
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        os.close(theirs)
        if not self._lines(READY_SECONDS):
            self._lost()
        return self._nursery

    @property
    def running(self) -> list[str]:
        """Names, oldest first."""
        return list(self._slots)

    @property
    def has_room(self) -> bool:
        """Whether another may start."""
        return bool(self._free)

    def start(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Fork a run."""
        slot = self._slots[name] = self._free.pop(0)
        order = {"name": name, "arguments": list(arguments), "log": str(log), "slot": slot}
        nursery = self._nursery or self._open()
        assert nursery.stdin is not None
        try:
            nursery.stdin.write(json.dumps(order).encode() + b"\n")
            nursery.stdin.flush()
        except BrokenPipeError:
            self._lost()

    def news(self, seconds: float) -> list[Gone]:
        """Runs that ended, waiting at most so long for the first."""
        gone = []
        for line in self._lines(seconds):
            name = line["name"]
            if "pid" in line:
                self._pids[name] = line["pid"]
                continue
            self._free.append(self._slots.pop(name))
            self._pids.pop(name, None)
            gone.append(Gone(name=name, code=line["code"]))
        return gone

    def signal_all(self, number: signal.Signals) -> None:
        """To every run that has not been heard to end."""
        for pid in self._pids.values():
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(pid, number)

    def close(self) -> None:
        """Kill what still runs, and end the nursery."""
        if self._nursery is None:
            return
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        self._nursery.wait()
        os.close(self._news)

    def _lines(self, seconds: float) -> list[dict]:
        ready, _, _ = select.select([self._news], [], [], seconds)
        if not ready:
            return []
        read = os.read(self._news, 65536)
        if not read:
            self._lost()
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def _lost(self) -> None:
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery.wait()
        raise RuntimeError(f"the process that starts the runs has ended; {self._log} may say why")
