"""The display where there is no terminal: plain lines, few of them, no control characters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pretrain.data.progress import Task
from pretrain.monitor.columns import Table
from pretrain.monitor.display import Training, Update
from pretrain.monitor.pace import Pace
from pretrain.monitor.words import amount, duration, printable

SECONDS_BETWEEN_LINES = 5.0
SECONDS_WORTH_A_LINE = 1.0


class Lines:
    """Writes a line every few seconds of a task and every few updates of a training run."""

    def __init__(
        self,
        stream: TextIO,
        every_steps: int,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
    ) -> None:
        self._stream = stream
        self._every_steps = every_steps
        self._clock = clock
        self._width = width  # None: of a file, whose lines may have any length

    def say(self, text: str) -> None:
        """Write the text as it is, control characters made visible."""
        self._stream.write(printable(text) + "\n")
        self._stream.flush()

    @contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[Task]:
        """Lines with rate and time left, and one at the end."""
        task = _TaskLines(title, Pace(total, clock=self._clock), unit, self.say)
        yield task
        task.end()

    @contextmanager
    def training(self, num_steps: int, done_steps: int) -> Iterator[Training]:
        """A line for the first, every so many and the last update."""
        pace = Pace(num_steps, done=done_steps, clock=self._clock)
        yield _TrainingLines(pace, Table(num_steps, self._width), self._every_steps, self.say)


class _TaskLines:
    def __init__(self, title: str, pace: Pace, unit: str, say: Callable[[str], None]) -> None:
        self._title, self._pace, self._unit, self._say = title, pace, unit, say
        self._spoken = 0.0
        self._note = ""

    def note(self, text: str) -> None:
        self._note = text

    def advance(self, amount: float) -> None:
        pace = self._pace
        pace.advance(amount)
        if pace.seconds - self._spoken >= SECONDS_BETWEEN_LINES and pace.done < pace.total:
            self._spoken = pace.seconds
            facts = filter(None, [*pace.facts(self._unit), self._note])
            self._say(f"{self._title}: {pace.share:.0%}, {', '.join(facts)}")

    def end(self) -> None:
        pace = self._pace
        if pace.seconds >= SECONDS_WORTH_A_LINE:
            self._say(f"{self._title}: {amount(pace.done, self._unit)} in {duration(pace.seconds)}")


class _TrainingLines:
    def __init__(self, pace: Pace, table: Table, every_steps: int, say: Callable[[str], None]) -> None:
        self._pace, self._table, self._every_steps, self._say = pace, table, every_steps, say
        self._first = True

    def update(self, update: Update) -> None:
        pace = self._pace
        pace.advance(update.step - pace.done)
        if self._first or update.step % self._every_steps == 0 or update.step >= pace.total:
            self._first = False
            for line in self._table.lines(update, pace.time()):
                self._say(line)
