"""Bytes on disk: a checkpoint, the checkpoints that a run keeps, and its token shards."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretrain.checkpoint.options import CheckpointOptions

STATE_BYTES = 12  # a parameter: its fp32 weight and two moments
SMALL_VOCABULARY = 2**16  # up to which a token takes two bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What a run writes; `peak_bytes` is what its folder may hold at once."""

    one_bytes: int
    written: int  # in all
    kept: int  # at the end of the run
    kept_bytes: int
    peak_bytes: int
    every_steps: int
    seconds_between: float | None  # at the plan's speed


def checkpoints(
    options: CheckpointOptions, parameters: int, first_step: int, steps: int, seconds_per_update: float | None
) -> Checkpoints:
    """Of a run from `first_step` to `steps`: by its keep rules, one that is being written beside them."""
    one = STATE_BYTES * parameters
    kept = kept_at_end(options, first_step, steps)
    between = None if seconds_per_update is None else options.every_steps * seconds_per_update
    return Checkpoints(
        one_bytes=one,
        written=written(options, first_step, steps),
        kept=kept,
        kept_bytes=kept * one,
        # beside the one that is written, one that was saved in order to stop
        peak_bytes=(kept + 2) * one,
        every_steps=options.every_steps,
        seconds_between=between,
    )


def written(options: CheckpointOptions, first_step: int, steps: int) -> int:
    """How many are due: every `every_steps`, and after the last update."""
    every = options.every_steps
    return steps // every - first_step // every + (steps % every != 0)


def kept_at_end(options: CheckpointOptions, first_step: int, steps: int) -> int:
    """How many stay of those, at most."""
    every, last = options.every_steps, steps // options.every_steps * options.every_steps
    newest = ([steps] if steps != last else []) + [last - index * every for index in range(options.keep_last)]
    stay = {step for step in newest[: options.keep_last] if step > first_step}
    if options.keep_every:
        period = lcm(every, options.keep_every)
        stay |= set(range(first_step // period * period + period, steps + 1, period))
        stay |= {steps} if steps % options.keep_every == 0 else set()
    return min(written(options, first_step, steps), len(stay) + (options.keep_best or 0))


def shard_bytes(tokens: int, vocab_size: int) -> int:
    """Of tokens as shards keep them."""
    return tokens * (2 if vocab_size <= SMALL_VOCABULARY else 4)
