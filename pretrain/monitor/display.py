"""What the console asks of a display: lines of text, tasks that advance, and a training run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from pretrain.data.progress import Task
from pretrain.monitor.words import short


@dataclass(frozen=True, kw_only=True)
class Update:
    """One update of the weights, as far as a person follows it."""

    step: int
    tokens: int  # trained so far
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float  # of late
    mfu: float | None  # likewise; None: not known

    def facts(self) -> list[str]:
        """The numbers in words, the first ones first to be read."""
        facts = [
            f"loss {self.loss:.4f}",
            f"{short(self.tokens_per_second)} tokens/s",
            f"lr {self.lr:.3g}",
            f"grad {self.grad_norm:.3g}",
            f"{short(self.tokens)} tokens",
        ]
        return facts if self.mfu is None else [*facts, f"MFU {self.mfu:.1%}"]


class Training(Protocol):
    """A training run that goes on."""

    def update(self, update: Update) -> None:
        """One more update is done."""


class Display(Protocol):
    """A place where a run is seen."""

    def say(self, text: str) -> None:
        """Show a line of text."""

    def task(self, title: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """Show a task while it goes on."""

    def training(self, num_steps: int, done_steps: int) -> AbstractContextManager[Training]:
        """Show the updates of a training run while it goes on."""


class Silence:
    """The display of ranks that do not talk, and of `quiet`."""

    def say(self, text: str) -> None:
        """Nothing."""

    def advance(self, amount: float) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def update(self, update: Update) -> None:
        """Nothing."""

    def task(self, title: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """A task that nobody sees."""
        return nullcontext(self)

    def training(self, num_steps: int, done_steps: int) -> AbstractContextManager[Training]:
        """A run that nobody sees."""
        return nullcontext(self)
