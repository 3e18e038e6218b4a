"""Fitting a loss-curve law: a Huber loss on log residuals, from many starts, within bounds.

A law is handed in as curves that give losses and their derivatives by the logarithms of its constants; the
constants in which it is linear are found for each start by least squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from pretrain.laws.curves import Floats

Matrix = NDArray[np.float64]
HUBER = 1e-3  # of a log residual; beyond it a point pulls with constant strength
NUM_POLISHED = 2  # starts that are followed to their end
MAX_EVALUATIONS = 200
CLEAN = 3e-4  # curves that the law follows to this share need no expectations, and get weaker ones
NO_PULL = 0.01  # strength of expectations below which they are let go
LEAST = 1e-9  # stands for 0 where a logarithm is taken


class Prepared(Protocol):
    """A curve as a law sees it."""

    def losses(self, theta: Floats) -> tuple[Floats, Matrix]:
        """Losses at the logarithms of the constants, and their derivatives by these."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """What is fitted to: curves and their losses, one after the other."""

    curves: Sequence[Prepared]
    losses: Floats

    def at(self, theta: Floats) -> tuple[Floats, Matrix]:
        """Losses of the law at all points, and their derivatives."""
        parts = [curve.losses(theta) for curve in self.curves]
        return np.concatenate([losses for losses, _ in parts]), np.concatenate([rows for _, rows in parts])


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where constants are looked for; all by their logarithms."""

    low: Floats
    high: Floats
    linear: tuple[int, ...]  # constants that the losses are linear in, with no constant term beside them
    grid: Sequence[Sequence[float]]  # for each of the others, where to start
    likely: Floats  # where a constant is expected if the curves leave it open
    width: Floats  # how far from there one may be without a pull; infinite: no expectation


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A minimum."""

    theta: Floats
    objective: float  # Huber sum over all points
    at_bounds: tuple[int, ...]  # constants that the curves do not hold inside


def fit(points: Points, space: Space, coarse: Points | None = None) -> Fitted:
    """The best of many starts, which are compared on `coarse` points where there are any."""
    starts = [theta for _, theta in sorted(_starts(coarse or points, space), key=lambda start: start[0])]
    free = _best(points, replace(space, width=np.full_like(space.width, np.inf)), starts[:NUM_POLISHED])
    strength = min(1.0, free.objective / (len(points.losses) * CLEAN**2 / 2))
    if strength < NO_PULL or np.isinf(space.width).all():
        return free
    return _best(points, replace(space, width=space.width / strength), [free.theta, starts[0]])


def _best(points: Points, space: Space, starts: Sequence[Floats]) -> Fitted:
    found = [refit(points, space, theta) for theta in starts]
    return min(found, key=lambda one: one.objective + _pull(one.theta, space))


def refit(points: Points, space: Space, theta: Floats, tolerance: float = 1e-8) -> Fitted:
    """The minimum near `theta`."""
    cached = _cached(lambda at: _residuals(points, space, at))
    inside = 1e-6 * (space.high - space.low)
    found = least_squares(
        lambda at: cached(at)[0],
        np.clip(theta, space.low + inside, space.high - inside),
        jac=lambda at: cached(at)[1],
        bounds=(space.low, space.high),
        loss="huber",
        f_scale=HUBER,
        max_nfev=MAX_EVALUATIONS,
        ftol=tolerance,
        xtol=tolerance,
        gtol=1e-12,
    )
    near = np.minimum(found.x - space.low, space.high - found.x) < 1e-3
    return Fitted(
        theta=found.x,
        objective=huber(cached(found.x)[0][: len(points.losses)]),
        at_bounds=tuple(int(index) for index in np.flatnonzero(near)),
    )


def huber(residuals: Floats) -> float:
    """The sum that is made least: half squares up to HUBER, straight lines beyond."""
    size = np.abs(residuals)
    return float(np.where(size < HUBER, size**2 / 2, HUBER * (size - HUBER / 2)).sum())


def _starts(points: Points, space: Space) -> Iterator[tuple[float, Floats]]:
    """A place for every node of the grid, and how good it is."""
    linear = list(space.linear)
    others = [index for index in range(len(space.low)) if index not in space.linear]
    for node in product(*space.grid):
        theta = np.zeros(len(space.low))
        theta[others] = np.log(node)
        basis = points.at(theta)[1][:, linear] / points.losses[:, None]
        theta[linear] = np.log(np.maximum(nnls(basis, np.ones(len(basis)))[0], LEAST))
        theta = np.clip(theta, space.low, space.high)
        yield huber(_residuals(points, space, theta)[0]), theta


def _residuals(points: Points, space: Space, theta: Floats) -> tuple[Floats, Matrix]:
    losses, jacobian = points.at(theta)
    positive = np.maximum(losses, LEAST)
    expected = np.flatnonzero(np.isfinite(space.width))
    # an expectation counts as one more point, whose pull is bounded like any other's
    scale = HUBER / space.width[expected]
    pull = scale * (theta - space.likely)[expected]
    rows = np.zeros((len(expected), len(theta)))
    rows[np.arange(len(expected)), expected] = scale
    residuals = np.concatenate([np.log(positive / points.losses), pull])
    return residuals, np.concatenate([jacobian / positive[:, None], rows])


def _pull(theta: Floats, space: Space) -> float:
    return huber(HUBER * (theta - space.likely) / space.width)


def _cached(function: Callable[[Floats], tuple[Floats, Matrix]]) -> Callable[[Floats], tuple[Floats, Matrix]]:
    """Residuals and derivatives are asked for one after the other at the same place."""
    last: list[tuple[bytes, tuple[Floats, Matrix]]] = []

    def call(theta: Floats) -> tuple[Floats, Matrix]:
        key = theta.tobytes()
        if not last or last[0][0] != key:
            last[:] = [(key, function(theta))]
        return last[0][1]

    return call
