"""A batch that follows the learning rate: seesaw (Meterez et al. 2025, arXiv 2510.14717) over a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from megatron_lite.schedules.base import LearningRate
from megatron_lite.schedules.batch_schedules import Seesaw
from pretrain.config.history import Past
from pretrain.config.layout import is_whole_run

if TYPE_CHECKING:
    from pretrain.config.schema import Config

POINTS = 1000  # at which a schedule is looked at: does it rise again?


def plain_tokens(config: Config, past: Past) -> int:
    """The length that the run would have with its first batch throughout, its past included."""
    behind = () if is_whole_run(config, past) else past.stages
    lengths = [*(stage.tokens for stage in behind), *(stage.tokens for stage in config.stages)]
    batch_tokens = config.batch.tokens
    return past.moments_from + sum(-(-tokens // batch_tokens) * batch_tokens for tokens in lengths)


def batch_under(config: Config, lr: LearningRate, seesaw: Seesaw) -> Callable[[int], int]:
    """The sequences that seesaw makes of the rate `lr`; the warm-up has the first batch."""
    first, warm = config.batch.sequences, config.schedule.warmup_tokens
    highest = lr(warm)

    def sequences_at(tokens: int) -> int:
        return first if tokens < warm else seesaw.sequences_under(lr(tokens) / highest, first)

    return sequences_at


def with_root(lr: LearningRate, sequences_at: Callable[[int], int], first: int) -> LearningRate:
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
