"""The best and the critical batch of every size and budget, from losses at each batch's own best rate.

best      the lowest point of a parabola in log batch through the best batch tried and its two neighbours
critical  the largest batch within a tolerance of the best loss, between two batches tried by a line
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.laws.critical_batch import Growth, growth
from pretrain.laws.optimum import Optimum
from pretrain.laws.parabola import lowest
from pretrain.laws.power_fit import groups
from pretrain.laws.table import Array

TOLERANCE = 0.01  # nats
MIN_BUDGETS = 3  # two points are a line with any exponent


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedBatches:
    """One size and budget: the loss of every batch at its best rate, in rising order of batch."""

    N: float
    T: float
    batch_tokens: Array
    loss: Array
    best: float | None  # None: the best batch is the smallest or largest tried
    best_loss: float | None
    critical: float | None  # None: the largest batch is still within the tolerance


def tuned_batches(optima: Sequence[Optimum], tolerance: float = TOLERANCE) -> tuple[TunedBatches, ...]:
    """Every (size, budget) of which two batches at least have an optimum."""
    found = [one for one in optima if not one.flag]
    members = ((key, [found[i] for i in which]) for key, which in groups(found).items())
    return tuple(_tuned(key, ones, tolerance) for key, ones in members if len(ones) > 1)


def growing(places: Sequence[tuple[float, float | None]]) -> Growth | None:
    """The power law through (T, batch), or None where fewer than three budgets have one."""
    known = [(T, batch) for T, batch in places if batch is not None]
    if len({T for T, _ in known}) < MIN_BUDGETS:
        return None
    return growth([T for T, _ in known], [batch for _, batch in known])


def _tuned(key: tuple[float, float], ones: Sequence[Optimum], tolerance: float) -> TunedBatches:
    ordered = sorted(ones, key=lambda one: one.cell.batch_tokens)
    batches = np.array([one.cell.batch_tokens for one in ordered])
    losses = np.array([one.loss for one in ordered])
    best, level = _lowest(np.log(batches), losses)
    return TunedBatches(
        N=key[0],
        T=key[1],
        batch_tokens=batches,
        loss=losses,
        best=None if best is None else float(np.exp(best)),
        best_loss=level,
        critical=_crossing(np.log(batches), losses, tolerance),
    )


def _lowest(x: Array, losses: Array) -> tuple[float | None, float | None]:
    middle = int(np.argmin(losses))
    if middle in (0, losses.size - 1):
        return None, None
    around = slice(middle - 1, middle + 2)
    found = lowest(x[around] - x[middle], losses[None, around])
    return float(found.vertex[0] + x[middle]), float(found.level[0])


def _crossing(x: Array, losses: Array, tolerance: float) -> float | None:
    middle = int(np.argmin(losses))
    limit = losses[middle] + tolerance
    for i in range(middle + 1, losses.size):
        if losses[i] > limit:
            share = (limit - losses[i - 1]) / (losses[i] - losses[i - 1])
            return float(np.exp(x[i - 1] + share * (x[i] - x[i - 1])))
    return None
