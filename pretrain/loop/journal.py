"""What the loop tells as it goes; only the first rank writes it down (written.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saved
from pretrain.evaluate.harness.interval import Outcome
from pretrain.loop.rewind import Rewound
from pretrain.loop.run import Run
from pretrain.loop.step import StepResult
from pretrain.monitor.summary import Sample, Score


class Journal(Protocol):
    """What the loop tells as it goes."""

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        """One update was made at `lr`, in `seconds`."""

    def rewound(self, run: Run, back: Rewound) -> None:
        """The run went back to an earlier state, and goes on from there with other data."""

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        """The loss on held-out text, by source."""

    def samples(self, position: Position, samples: Sequence[Sample]) -> None:
        """Text that the model of now wrote."""

    def tasks(self, position: Position, outcome: Outcome) -> None:
        """The model of now was asked benchmark tasks."""

    def shown(self) -> None:
        """What was found of the model of now is recorded: the page can show it."""

    def pause(self, what: str) -> AbstractContextManager[None]:
        """Around what training waits for between updates: evaluation, saving, rewind."""

    def saving(self) -> None:
        """A checkpoint is about to be written."""

    def saved(self, saved: Saved) -> None:
        """A checkpoint is on disk."""

    def unsaved(self, saved: Saved) -> None:
        """A checkpoint could not be written; the run goes on."""

    def stopped(self, position: Position, reason: str) -> None:
        """The run stops before its end, and can be continued."""


class Silent:
    """The journal of the other ranks."""

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        """Nothing."""

    def rewound(self, run: Run, back: Rewound) -> None:
        """Nothing."""

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        """Nothing."""

    def samples(self, position: Position, samples: Sequence[Sample]) -> None:
        """Nothing."""

    def tasks(self, position: Position, outcome: Outcome) -> None:
        """Nothing."""

    def shown(self) -> None:
        """Nothing."""

    def pause(self, what: str) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()

    def saving(self) -> None:
        """Nothing."""

    def saved(self, saved: Saved) -> None:
        """Nothing."""

    def unsaved(self, saved: Saved) -> None:
        """Nothing."""

    def stopped(self, position: Position, reason: str) -> None:
        """Nothing."""
