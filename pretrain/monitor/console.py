"""The console: what a person sees while a run goes on, bars on a terminal and plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TextIO

from pretrain.data.progress import Task
from pretrain.monitor.display import Display, Silence, Training
from pretrain.monitor.stream import unbroken
from pretrain.monitor.summary import Score

USUAL_COLUMNS = 80  # of a terminal that does not tell


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


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except OSError:
        return USUAL_COLUMNS


def _display(stream: TextIO, every_steps: int) -> Display:
    stream, width = unbroken(stream), None
    if stream.isatty():
        from rich.console import Console as RichConsole

        from pretrain.monitor.bars import Bars

        console = RichConsole(file=stream)
        if not console.is_dumb_terminal:
            return Bars(stream)
        width = _columns(stream)
    from pretrain.monitor.lines import Lines

    return Lines(stream, every_steps, width=width)
