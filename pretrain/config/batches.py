"""The global batch of a run at every token: that of a stage, of the batch schedule, or of the past."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from megatron_lite.schedules.base import LearningRate
from megatron_lite.schedules.batch_schedules import Seesaw
from megatron_lite.schedules.timeline import Segment
from pretrain.config.history import StagePlan

if TYPE_CHECKING:
    from pretrain.config.schema import Config
    from pretrain.data.options import Stage

SequencesAt = Callable[[int], int]
POINTS = 1000  # at which a schedule under seesaw is looked at: does it rise again?


@dataclass(frozen=True, kw_only=True)
class BatchOverTime:
    """The batch that is due at any number of tokens, between updates as well."""

    past: tuple[Segment, ...]
    stages: tuple[tuple[StagePlan, SequencesAt], ...]  # those ahead, with their batch

    def tokens_at(self, tokens: int) -> int:
        """Tokens in the batch that is trained after `tokens` have been seen."""
        if self.past and tokens < self.past[-1].end.tokens:
            index = bisect_right(self.past, tokens, key=lambda segment: segment.first_tokens) - 1
            return self.past[max(0, index)].batch_tokens
        index = bisect_right(self.stages, tokens, key=lambda item: item[0].first_tokens) - 1
        stage, sequences_at = self.stages[max(0, index)]
        return sequences_at(tokens) * stage.sequence_length


def sequences_of(stage: Stage, config: Config, scheduled: SequencesAt) -> SequencesAt:
    """The batch of a stage: its own where it has one, and else what the batch schedule says."""
    own = stage.sequences
    return scheduled if own is None else lambda tokens: own


def scheduled(config: Config) -> SequencesAt:
    """The batch schedule, where it needs no learning rate."""
    schedule = config.batch.schedule
    assert not isinstance(schedule, Seesaw)
    return partial(schedule.sequences_at, first=config.batch.sequences)


def under_seesaw(config: Config, lr: LearningRate, seesaw: Seesaw) -> SequencesAt:
    """The batch that seesaw makes of the schedule `lr`; the warm-up has the first batch."""
    first, warm = config.batch.sequences, config.schedule.warmup_tokens
    highest = lr(warm)

    def sequences_at(tokens: int) -> int:
        return first if tokens < warm else seesaw.sequences_under(lr(tokens) / highest, first)

    return sequences_at


def with_root(lr: LearningRate, sequences_at: SequencesAt, first: int) -> LearningRate:
    """The learning rate under seesaw: the schedule's times the root of the batch's growth."""
    return lambda tokens: lr(tokens) * math.sqrt(sequences_at(tokens) / first)


def check_seesaw(config: Config, lr: LearningRate, total_tokens: int) -> None:
    """Raises ValueError where seesaw makes no sense over this schedule."""
    name, warm = config.schedule.name, config.schedule.warmup_tokens
    for index, stage in enumerate(config.stages):
        for key in ("sequences", "sequence_length"):
            if getattr(stage, key) is not None:
                raise ValueError(
                    f"stages.{index}.{key}: batch.schedule.name=seesaw decides the batch; leave it out"
                )
    points: Sequence[int] = [warm + (total_tokens - warm) * k // POINTS for k in range(POINTS + 1)]
    values = [lr(tokens) for tokens in points if tokens >= warm]
    if not values or not values[0]:
        raise ValueError("batch.schedule: seesaw needs a schedule whose warm-up ends within the run, above 0")
    if any(later > value * (1 + 1e-9) for value, later in pairwise(values)):
        raise ValueError(
            f"batch.schedule: seesaw needs a rate that never rises after its warm-up, and {name} does"
        )
