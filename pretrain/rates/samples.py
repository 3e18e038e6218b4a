"""Where a curve is looked at to draw it: closely on linear and log axes, and on both sides of a jump."""

from __future__ import annotations

from itertools import pairwise

from megatron_lite.schedules.timeline import Segment
from pretrain.rates.ranges import log_from
from pretrain.rates.rates import Rates

NUM_PLACES = 400  # on each kind of axis
MOST_CHANGES = 200  # of the batch, whose corners can be seen


def places(rates: Rates) -> tuple[int, ...]:
    """Token counts from the run's beginning to its end, ascending."""
    first, last = rates.first, rates.last
    linear = {first + index * (last - first) // NUM_PLACES for index in range(NUM_PLACES + 1)}
    low = log_from(rates)
    log = {round(low * (last / low) ** (index / NUM_PLACES)) for index in range(NUM_PLACES + 1)}
    schedule = rates.config.schedule
    corners = {schedule.warmup_tokens, last - schedule.decay_tokens}
    changes = list(pairwise(rates.segments))[:MOST_CHANGES]
    jumps = {tokens for change in changes for tokens in _last_and_first(*change)}
    found = linear | log | corners | jumps
    return tuple(sorted(tokens for tokens in found if first <= tokens <= last))


def _last_and_first(before: Segment, after: Segment) -> tuple[int, int]:
    """What the last update with one batch and the first with the next find trained."""
    return after.first_tokens - before.batch_tokens, after.first_tokens
