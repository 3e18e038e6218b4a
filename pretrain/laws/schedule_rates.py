"""The rate of every update of a run under a schedule, as the loss-curve laws want it."""

from __future__ import annotations

import numpy as np

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from pretrain.errors import UserError
from pretrain.laws.curves import Floats

MOST_UPDATES = 5_000_000


def schedule_rates(schedule: Schedule, *, tokens: int, batch_tokens: int) -> Floats:
    """Of update 0, which stands for no update, to the one that makes the tokens full."""
    updates = -(-tokens // batch_tokens)
    if updates > MOST_UPDATES:
        raise UserError(
            f"{tokens} tokens in batches of {batch_tokens} are {updates} updates; at most {MOST_UPDATES} here"
        )
    try:
        lr = schedule.bind(
            batch=ConstantBatch(batch_tokens=batch_tokens), total_tokens=updates * batch_tokens
        )
    except ValueError as error:
        raise UserError(f"schedule {schedule.name}: {error}") from error
    return np.array([0.0, *(lr(update * batch_tokens) for update in range(updates))])
