"""Schedules that are not ours: whatever is wrong with their rate is a sentence, and never an update."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable

from megatron_lite.schedules.base import LearningRate, Schedule
from megatron_lite.schedules.batch import BatchSchedule
from pretrain.errors import UserError

OURS = ("megatron_lite.", "pretrain.")


def bound(schedule: Schedule, batch: BatchSchedule, total_tokens: int) -> LearningRate:
    """The learning rate; one of somebody else's schedule is looked at whenever it is asked.

    Raises ValueError where the schedule does not fit the run; its rate raises UserError where it is none.
    """
    if type(schedule).__module__.startswith(OURS):
        return schedule.bind(batch=batch, total_tokens=total_tokens)
    try:
        rate = schedule.bind(batch=batch, total_tokens=total_tokens)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"{schedule.name} fails with {_what(error)}") from None

    def lr(tokens: int) -> float:
        try:
            value = rate(tokens)
        except (Exception, SystemExit) as error:
            raise UserError(
                f"schedule: {schedule.name} fails at {tokens} tokens with {_what(error)}"
            ) from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise UserError(
                f"schedule: {schedule.name} gives {value!r} at {tokens} tokens; a learning rate is a number, "
                "0 or more"
            )
        return float(value)

    return lr


def probe(schedule: Schedule, lr: LearningRate, places: Iterable[int]) -> None:
    """ValueError where somebody else's schedule gives no rate at one of these token counts."""
    if type(schedule).__module__.startswith(OURS):
        return
    try:
        for tokens in places:
            lr(tokens)
    except UserError as error:
        raise ValueError(str(error).removeprefix("schedule: ")) from None


def _what(error: BaseException) -> str:
    """An error with the line that made it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    first, *_ = str(error).split("\n")
    return f"{type(error).__name__}{': ' + first if first else ''}{where}"
