"""What lies behind a run's first update: nothing, or the run that it branched from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from megatron_lite.schedules.timeline import Point, Segment
from pretrain.config.batches import BatchSpan

BEGINNING = Point()


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage in whole updates."""

    name: str
    mix: Mapping[str, float]
    sequence_length: int
    micro_sequences: int
    first_step: int  # counted from 0
    first_tokens: int
    first_sequence: int
    steps: int
    tokens: int  # after rounding up to whole global batches
    num_sequences: int

    @property
    def end(self) -> Point:
        """Where the run stands behind it."""
        return Point(
            step=self.first_step + self.steps,
            tokens=self.first_tokens + self.tokens,
            sequence=self.first_sequence + self.num_sequences,
        )

    def until(self, point: Point) -> StagePlan:
        """The same stage, ended at `point`."""
        return replace(
            self,
            steps=point.step - self.first_step,
            tokens=point.tokens - self.first_tokens,
            num_sequences=point.sequence - self.first_sequence,
        )


@dataclass(frozen=True, kw_only=True)
class Past:
    """The updates that a run goes on from, as they were made."""

    here: Point = BEGINNING  # where the run goes on
    stages: tuple[StagePlan, ...] = ()  # the last of them as far as it was trained
    segments: tuple[Segment, ...] = ()
    batches: tuple[BatchSpan, ...] = ()
    moments_from: int = 0  # tokens at which the optimizer's moments began

    @classmethod
    def at(cls, tokens: int) -> Past:
        """The past of a run whose count begins at `tokens`, of which it trained none itself."""
        return cls(here=Point(tokens=tokens), moments_from=tokens)
