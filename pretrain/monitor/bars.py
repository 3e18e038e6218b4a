"""The display on a terminal: rich progress bars, with text above them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from pretrain.data.progress import Task
from pretrain.monitor.display import Training, Update
from pretrain.monitor.pace import Pace
from pretrain.monitor.words import printable

SECONDS_BETWEEN_REFRESHES = 0.2
LEAST_BAR = 12  # columns, with the gaps around it; a third of it on a narrow terminal
NARROW = 60


class Bars:
    """Bars for everything that goes on at the moment; those inside another vanish when they are done."""

    def __init__(self, stream: TextIO) -> None:
        self._console = RichConsole(file=stream, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
            refresh_per_second=1 / SECONDS_BETWEEN_REFRESHES,
            expand=True,
            redirect_stdout=False,
        )
        self._depth = 0

    def say(self, text: str) -> None:
        """Write the text above the bars."""
        self._console.print(Text(printable(text)), soft_wrap=True)

    @contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[Task]:
        """A bar with rate and time left."""
        pace = Pace(total)
        with self._bar(title, total) as bar:
            task = _TaskBar(bar, pace, unit)
            yield task
            pace.total = pace.done  # the total may have been an estimate
            task.show()

    @contextmanager
    def training(self, num_steps: int, done_steps: int) -> Iterator[Training]:
        """A bar with loss, learning rate, tokens per second and time left."""
        pace = Pace(num_steps, done=done_steps)
        with self._bar("training", num_steps) as bar:
            bar(completed=done_steps)
            width = self._console.width
            room = width - len("training") - (LEAST_BAR if width >= NARROW else LEAST_BAR // 3)
            yield _TrainingBar(bar, pace, room)

    @contextmanager
    def _bar(self, title: str, total: float) -> Iterator[Callable[..., None]]:
        if self._depth == 0:
            self._progress.start()
        self._depth += 1
        bar = self._progress.add_task(title, total=total, facts="")
        try:
            yield partial(self._progress.update, bar)
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._progress.stop()
            self._progress.remove_task(bar)


class _TaskBar:
    def __init__(self, show: Callable[..., None], pace: Pace, unit: str) -> None:
        self._show, self._pace, self._unit = show, pace, unit
        self._shown = 0.0
        self._note = ""

    def note(self, text: str) -> None:
        self._note = text

    def advance(self, amount: float) -> None:
        self._pace.advance(amount)
        now = time.monotonic()
        if now - self._shown >= SECONDS_BETWEEN_REFRESHES:
            self._shown = now
            self.show()

    def show(self) -> None:
        facts = [*self._pace.facts(self._unit), self._note]
        self._show(total=self._pace.total, completed=self._pace.done, facts="  ".join(filter(None, facts)))


class _TrainingBar:
    def __init__(self, show: Callable[..., None], pace: Pace, room: int) -> None:
        self._show, self._pace, self._room = show, pace, room

    def update(self, update: Update) -> None:
        pace = self._pace
        pace.advance(update.step - pace.done)
        facts = [f"{update.step}/{pace.total:.0f}", pace.time(), *update.facts()]
        self._show(completed=update.step, facts=_fitting([fact for fact in facts if fact], self._room))


def _fitting(facts: Sequence[str], room: int) -> str:
    """As many of the facts, from the first on, as a line has room for."""
    text = ""
    for fact in facts:
        longer = f"{text}  {fact}" if text else fact
        if text and len(longer) > room:
            break
        text = longer
    return text
