"""The highest learning rate of a run: what a sweep's results call its rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrain.config.derive import derive
from pretrain.config.schema import Config
from pretrain.data.options import Stage

SAMPLES = 200


def highest_lr(config: Config, schedule: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> float:
    """Of the group with ratio 1, under changed keys of the schedule; ValueError for an impossible run."""
    changed = config.model_copy(
        update={
            "schedule": config.schedule.model_copy(update=schedule),
            "stages": tuple(Stage.model_validate(stage) for stage in stages),
        }
    )
    derived = derive(changed)
    last = derived.tokens - config.batch.tokens
    places = {min(changed.schedule.warmup_tokens, last), *(i * last // SAMPLES for i in range(SAMPLES + 1))}
    return max(derived.lr(n) for n in places)
