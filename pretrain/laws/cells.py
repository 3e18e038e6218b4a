"""Runs gathered into cells: one (size, tokens, batch) with its learning rates, repeated seeds averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from megatron_lite.schedules.power import REFERENCE_SEQUENCE_TOKENS
from pretrain.laws.results import Results
from pretrain.laws.table import Array

# A budget is rounded up to whole batches, so that the same one differs a little from batch to batch.
SAME = 1.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The mean loss at every learning rate, in rising order."""

    N: float
    T: float  # the budget: the same number for all batches of one
    D: float  # the tokens of these runs
    batch_tokens: float
    lr: Array
    loss: Array
    loss_se: Array  # of the mean, as the runs say; NaN where they do not
    runs: Array  # how many each mean is of
    seed_squares: float  # sum over rates of squared deviations from their means
    failed_lr: Array

    @property
    def beta(self) -> float:
        """The batch in sequences of 4096 tokens."""
        return self.batch_tokens / REFERENCE_SEQUENCE_TOKENS

    def errors(self, noise: float) -> Array:
        """The standard error of every mean: a run's noise over the root of how many, else what the runs say.

        What counts is how far runs are from each other. What a run says of itself is often the error of its
        evaluation, which all share that are evaluated on the same text.
        """
        return noise / np.sqrt(self.runs) if np.isfinite(noise) else self.loss_se


def gather(results: Results) -> tuple[Cell, ...]:
    """The cells of a sweep by size, budget and batch. Raises nothing: a cell may be without any loss."""
    sizes, budgets = together(results.N), together(results.D)
    batches = together(results.batch_tokens, 1.01)
    keys = sorted(set(zip(sizes, budgets, batches, strict=True)))
    return tuple(_cell(results, (sizes == N) & (budgets == T) & (batches == B), (N, T)) for N, T, B in keys)


def together(values: Array, factor: float = SAME) -> Array:
    """Every value replaced by the geometric mean of those that are one within `factor`."""
    result = np.empty_like(values)
    for start, stop in _groups(np.sort(values), factor):
        inside = (values >= start) & (values <= stop)
        logs = np.log(np.unique(values[inside]))
        result[inside] = values[inside][0] if logs.size == 1 else np.exp(logs.mean())
    return result


def _groups(ordered: Array, factor: float) -> Iterator[tuple[float, float]]:
    start = stop = float(ordered[0])
    for value in ordered[1:]:
        if value > start * factor:
            yield start, stop
            start = float(value)
        stop = float(value)
    yield start, stop


def _cell(results: Results, rows: Array, key: tuple[float, float]) -> Cell:
    good = rows & np.isfinite(results.loss)
    rates = np.unique(np.round(np.log(results.lr[good]), 6))  # the same rate, whatever its last digit
    at = [good & (np.abs(np.log(results.lr) - rate) < 1e-5) for rate in rates]
    losses = [results.loss[here] for here in at]
    errors = [results.loss_se[here] for here in at]
    return Cell(
        N=key[0],
        T=key[1],
        D=float(np.exp(np.log(results.D[rows]).mean())),
        batch_tokens=float(results.batch_tokens[rows][0]),
        lr=np.array([results.lr[here].mean() for here in at]),
        loss=np.array([loss.mean() for loss in losses]),
        loss_se=np.array([np.sqrt(np.sum(error**2)) / error.size for error in errors]),
        runs=np.array([loss.size for loss in losses], float),
        seed_squares=float(sum(np.sum((loss - loss.mean()) ** 2) for loss in losses)),
        failed_lr=results.lr[rows & ~np.isfinite(results.loss)],
    )
