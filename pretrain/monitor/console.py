"""The console: what a person sees while a run goes on, bars on a terminal and plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TextIO

from pretrain.data.progress import Task
from pretrain.monitor.display import Display, Silence, Training
from pretrain.monitor.stream import unbroken
from pretrain.monitor.summary import Score


class Console:
    """Speaks on standard error, for one rank; the others are `quiet`."""

    def __init__(self, *, quiet: bool = False, every_steps: int = 10, stream: TextIO | None = None) -> None:
        self._display = Silence() if quiet else _display(stream or sys.stderr, every_steps)

    def say(self, text: str) -> None:
        """Show a line of text."""
        self._display.say(text)

    def task(self, title: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """Show a task with rate and time left: `with console.task(...) as task: task.advance(n)`."""
        return self._display.task(title, total, unit)

    def training(self, num_steps: int, done_steps: int = 0) -> AbstractContextManager[Training]:
        """Show a training run: `with console.training(...) as training: training.update(Update(...))`."""
        return self._display.training(num_steps, done_steps)

    def validation(self, *, step: int, source: str, loss: float, bits_per_byte: float) -> None:
        """Show the loss on held-out text."""
        score = Score(loss=loss, bits_per_byte=bits_per_byte)
        self.say(f"step {step}  validation on {source}: {score.describe()}")


def _display(stream: TextIO, every_steps: int) -> Display:
    stream = unbroken(stream)
    if stream.isatty():
        from rich.console import Console as RichConsole

        from pretrain.monitor.bars import Bars

        if not RichConsole(file=stream).is_dumb_terminal:
            return Bars(stream)
    from pretrain.monitor.lines import Lines

    return Lines(stream, every_steps)
