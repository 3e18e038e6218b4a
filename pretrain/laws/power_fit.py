"""The paper's law of the learning rate, lr / beta = a T^b, from the three best batches of every budget.

Shen et al. 2024, arXiv 2408.13359, section 3.1. Here the average over the batches is geometric, as the
line is one in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.laws.optimum import Optimum
from pretrain.laws.regression import Interval, Line, least_squares, percentiles, widest
from pretrain.laws.table import Array

BEST = 3  # batches of a budget that the paper averages over


@dataclass(frozen=True, kw_only=True)
class Point:
    """One budget of one size: the gamma of its best batches."""

    N: float
    T: float
    gamma: float
    batches: tuple[float, ...]  # best first
    at_edge: bool  # the best batch is the smallest or largest that has an optimum


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """gamma = amplitude T^exponent, with 95 % intervals (None where nothing gives one).

    An interval is the widest of two: from the scatter of the points about the line, and from the noise of
    the losses by repetition.
    """

    amplitude: float
    exponent: float
    amplitude_interval: Interval | None
    exponent_interval: Interval | None
    points: int
    budgets: int
    sizes: int
    factor: float  # typical distance of a point from the law, as a factor; NaN with two points

    def gamma(self, T: float) -> float:
        """The law's lr / beta at a budget."""
        return float(self.amplitude * T**self.exponent)


def best_points(optima: Sequence[Optimum]) -> tuple[Point, ...]:
    """The gamma of every (size, budget) that has an optimum."""
    losses = np.array([[optimum.loss for optimum in optima]])
    gammas = np.array([[np.log(optimum.gamma) for optimum in optima]])
    points = []
    for (N, T), members in groups(optima).items():
        order = [members[i] for i in np.argsort(losses[0, members])]
        batches = [optima[i].cell.batch_tokens for i in order]
        points.append(
            Point(
                N=N,
                T=T,
                gamma=float(np.exp(average(gammas, losses, members)[0])),
                batches=tuple(batches[:BEST]),
                at_edge=batches[0] in (min(batches), max(batches)),
            )
        )
    return tuple(points)


def groups(optima: Sequence[Optimum]) -> dict[tuple[float, float], list[int]]:
    """Which optima belong to every (size, budget)."""
    found: dict[tuple[float, float], list[int]] = {}
    for i, optimum in enumerate(optima):
        found.setdefault((optimum.cell.N, optimum.cell.T), []).append(i)
    return found


def average(log_gammas: Array, losses: Array, members: Sequence[int]) -> Array:
    """Mean log gamma of the three members with the lowest loss, in every repetition (row)."""
    inside = np.where(np.isfinite(losses[:, members]), losses[:, members], np.inf)
    best = np.argsort(inside, axis=1)[:, :BEST]
    chosen = np.take_along_axis(log_gammas[:, members], best, axis=1)
    return chosen.mean(axis=1)


def power_line(points: Sequence[Point]) -> Line | None:
    """The straight line log gamma = log a + b log T, or None with fewer than two budgets."""
    if not points:
        return None
    return least_squares(_design(points), np.log([point.gamma for point in points]))


def power_law(points: Sequence[Point], repeated: Array | None) -> PowerLaw | None:
    """The law through these points; `repeated` holds their log gamma in every repetition (row)."""
    line = power_line(points)
    if line is None:
        return None
    intervals = [line.interval(which) for which in (0, 1)]
    if repeated is None:
        noise: list[Interval | None] = [None, None]
    else:
        samples = np.linalg.pinv(_design(points)) @ repeated.T
        noise = [percentiles(sample) for sample in samples]
    log_a = widest(intervals[0], noise[0])
    return PowerLaw(
        amplitude=float(np.exp(line.coefficients[0])),
        exponent=float(line.coefficients[1]),
        amplitude_interval=None if log_a is None else (float(np.exp(log_a[0])), float(np.exp(log_a[1]))),
        exponent_interval=widest(intervals[1], noise[1]),
        points=len(points),
        budgets=len({point.T for point in points}),
        sizes=len({point.N for point in points}),
        factor=float(np.exp(line.scatter)),
    )


def _design(points: Sequence[Point]) -> Array:
    return np.stack([np.ones(len(points)), np.log([point.T for point in points])], axis=1)
