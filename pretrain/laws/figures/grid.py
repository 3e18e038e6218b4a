"""Which part of a sweep a figure of one size, batch or budget shows: the one with the most to see."""

from __future__ import annotations

from collections import Counter

from pretrain.laws.cells import Cell
from pretrain.laws.figures.study import Study


def fullest_size(study: Study) -> float:
    """The size with the most optima; of several the largest."""
    return _most(Counter(one.cell.N for one in study.found))


def fullest_batch(study: Study, N: float) -> float:
    """The batch of this size with an optimum at the most budgets; of several the middle one."""
    counted = Counter(one.cell.batch_tokens for one in study.of(N=N))
    best = sorted(batch for batch, count in counted.items() if count == max(counted.values()))
    return best[len(best) // 2]


def fullest_budget(study: Study, N: float) -> float:
    """The budget of this size with an optimum at the most batches; of several the largest."""
    return _most(Counter(one.cell.T for one in study.of(N=N)))


def cells_of(
    study: Study, *, N: float | None = None, T: float | None = None, batch: float | None = None
) -> list[Cell]:
    """The cells with two rates or more at this size, budget and batch, with or without an optimum."""
    return [
        cell
        for cell in study.cells
        if N in (None, cell.N) and T in (None, cell.T) and batch in (None, cell.batch_tokens)
    ]


def _most(counted: Counter[float]) -> float:
    return max(counted, key=lambda value: (counted[value], value))
