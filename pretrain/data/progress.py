"""How long work tells how far it is: a protocol, and the implementation that says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work with a known size."""

    def advance(self, amount: float) -> None:
        """Note that `amount` more units are done."""

    def note(self, text: str) -> None:
        """Show this beside it from now on, such as a second rate."""


class Progress(Protocol):
    """Shows tasks with their rate and the time left."""

    def task(self, title: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """A task of `total` units (`B`, `tokens`, ...), shown while the context is open."""


class _SilentTask:
    def advance(self, amount: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress:
    """Shows nothing: for tests and for ranks other than the first."""

    @contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[Task]:
        """A task that nobody sees."""
        yield _SilentTask()
