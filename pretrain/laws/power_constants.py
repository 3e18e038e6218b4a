"""A sweep of the power schedule's own constants: the loss over amplitude and exponent, the best exponent.

Shen et al. 2024, arXiv 2408.13359, section 4: lr = min(lr_max, beta a n^b) at several (T, beta, a, b). Over
the constant that is not looked at the loss is the lowest tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.laws.cells import together
from pretrain.laws.parabola import lowest
from pretrain.laws.results import Results
from pretrain.laws.table import Array, Table

AMPLITUDE = ("amplitude", "schedule.amplitude", "a")
EXPONENT = ("exponent", "schedule.exponent", "b")


@dataclass(frozen=True, kw_only=True, eq=False)
class ConstantRun:
    """Mean losses of one (size, tokens, batch) over a grid of constants."""

    N: float
    T: float
    beta: float
    amplitude: Array
    exponent: Array
    loss: Array

    def over_amplitude(self) -> tuple[Array, Array]:
        """Amplitudes in rising order, and the lowest loss of each."""
        return _profile(self.amplitude, self.loss)

    def over_exponent(self) -> tuple[Array, Array]:
        """Exponents in rising order, and the lowest loss of each."""
        return _profile(self.exponent, self.loss)

    @property
    def best_exponent(self) -> float | None:
        """By a parabola through the best exponent and its neighbours; None where they do not enclose it."""
        b, losses = self.over_exponent()
        middle = int(np.argmin(losses))
        if middle in (0, losses.size - 1):
            return None
        around = slice(middle - 1, middle + 2)
        return float(b[middle] + lowest(b[around] - b[middle], losses[None, around]).vertex[0])


def constant_columns(table: Table) -> tuple[Array, Array] | None:
    """Amplitude and exponent of every row, NaN where it has none; None where neither varies over the file."""
    found = [table.find(*names) for names in (AMPLITUDE, EXPONENT)]
    rows = len(table.lines)
    columns = [np.full(rows, np.nan) if name is None else table.reals(name) for name in found]
    if all(np.unique(column[np.isfinite(column)]).size < 2 for column in columns):
        return None
    return columns[0], columns[1]


def constant_runs(results: Results, amplitude: Array, exponent: Array) -> tuple[ConstantRun, ...]:
    """The runs that gave a loss, by size, budget and batch; a constant that is not given is one value."""
    rows = np.isfinite(results.loss)
    N, T, beta = together(results.N), together(results.D), together(results.beta, 1.01)
    a, b = np.nan_to_num(amplitude, nan=0.0), np.nan_to_num(exponent, nan=0.0)
    keys = sorted(set(zip(N[rows], T[rows], beta[rows], strict=True)))
    return tuple(
        _run(key, a[here], b[here], results.loss[here])
        for key in keys
        if (here := rows & (key[0] == N) & (key[1] == T) & (beta == key[2])).any()
    )


def _run(key: tuple[float, float, float], a: Array, b: Array, losses: Array) -> ConstantRun:
    pairs = sorted(set(zip(a, b, strict=True)))
    means = [float(losses[(a == one[0]) & (b == one[1])].mean()) for one in pairs]
    grid = np.array(pairs)
    return ConstantRun(
        N=key[0], T=key[1], beta=key[2], amplitude=grid[:, 0], exponent=grid[:, 1], loss=np.array(means)
    )


def _profile(values: Array, losses: Array) -> tuple[Array, Array]:
    known = np.unique(values)
    return known, np.array([losses[values == value].min() for value in known])


def spread(runs: Sequence[ConstantRun], profile: Callable[[ConstantRun], tuple[Array, Array]]) -> float:
    """The largest rise of a profile over the values tried, in nats."""
    return max(float(np.ptp(profile(run)[1])) for run in runs)
