"""How far a build is, seen from the outside: by the volumes that are whole, whoever wrote them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pretrain.data.progress import Task
from pretrain.monitor.words import short

SHARE_OF_TIME = 0.02  # spent on looking: a folder of many files is slow to list
SECONDS_BETWEEN_LOOKS = 0.2


class Look:
    """Tells a task of the volumes below a folder that were not there at the last look."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder, self._task = folder, task
        self._seen: set[str] = set()
        self._next = 0.0
        self._began = time.monotonic()
        self._before: dict[str, int] | None = None
        self._totals = {"documents": 0, "tokens": 0}

    def __call__(self) -> None:
        """Look, unless the last one was a moment ago."""
        if time.monotonic() >= self._next:
            self.now()

    def now(self) -> None:
        """Look."""
        began = time.monotonic()
        num_bytes = 0
        for file in self._folder.glob("[0-9]*/[0-9]*.json"):
            name = str(file.relative_to(self._folder))
            if name not in self._seen:
                self._seen.add(name)
                contents = json.loads(file.read_bytes())
                num_bytes += contents["text_bytes"]
                for kind in self._totals:
                    self._totals[kind] += contents.get(kind, 0)
        if self._before is None:  # what an earlier build left is done, but not at any speed of this one
            self._before = dict(self._totals)
        if num_bytes:
            note = getattr(self._task, "note", None)  # not every display has room for more
            if note and self.rates():
                note(self.rates())
            self._task.advance(num_bytes)
        ended = time.monotonic()
        self._next = ended + max(SECONDS_BETWEEN_LOOKS, (ended - began) / SHARE_OF_TIME)

    def rates(self) -> str:
        """Documents and tokens a second since the first look, in words."""
        seconds = time.monotonic() - self._began
        before = self._before or self._totals
        amounts = [(self._totals[kind] - before[kind], kind) for kind in self._totals]
        return "  ".join(f"{short(number / seconds)} {kind}/s" for number, kind in amounts if number)
