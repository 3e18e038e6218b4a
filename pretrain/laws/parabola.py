"""The lowest point of a parabola with a given skew, through many sets of losses at once.

    loss = level + bend ((x - vertex)^2 + skew (x - vertex)^3),  x the log rate

The skew is one number for a whole sweep. A cell by itself cannot tell it from noise, and without it the
vertex depends on which neighbours the grid happens to have, which bends a law through many optima.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pretrain.laws.table import Array

ROUNDS = 12
MIN_CELLS = 5  # with a skew of their own, before the median of them is believed
MAX_SKEW = 0.3  # beyond it the cubic turns down inside of a window of four grid steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowest:
    """Where every row is lowest and how it bends there; NaN where it does not bend upwards."""

    vertex: Array
    level: Array
    slope: Array  # at x = 0, of the parabola that is left when the skew is taken off
    bend: Array


def lowest(x: Array, losses: Array, skew: float = 0.0) -> Lowest:
    """The lowest points of `losses`, one row a set."""
    inverse = np.linalg.pinv(powers(x))
    rest = losses
    for _ in range(ROUNDS if skew else 1):
        level, slope, bend = inverse @ rest.T
        bend = np.where(bend > 0, bend, np.nan)
        vertex = np.clip(-slope / (2 * bend), 2 * x[0], 2 * x[-1])
        rest = losses - skew * bend[:, None] * (x - vertex[:, None]) ** 3
    return Lowest(vertex=vertex, level=level - slope**2 / (4 * bend), slope=slope, bend=bend)


def residual_squares(x: Array, losses: Array, skew: float) -> float:
    """Sum of squares of the losses about their skewed parabola."""
    found = lowest(x, losses[None], skew)
    away = x - found.vertex[0]
    return float(np.sum((losses - found.level[0] - found.bend[0] * (away**2 + skew * away**3)) ** 2))


def common_skew(sets: Iterable[tuple[Array, Array]]) -> float:
    """The median skew of cubics through these (x, losses), 0 where they are too few to tell."""
    skews = [skew for x, losses in sets if x.size >= 5 and np.isfinite(skew := _skew(x, losses))]
    return float(np.clip(np.median(skews), -MAX_SKEW, MAX_SKEW)) if len(skews) >= MIN_CELLS else 0.0


def powers(x: Array) -> Array:
    """1, x and x^2 in columns."""
    return np.stack([np.ones_like(x), x, x * x], axis=1)


def _skew(x: Array, losses: Array) -> float:
    """Third against second order at the lowest point of one cubic."""
    third, second, first, _ = np.polyfit(x, losses, 3)
    square = second**2 - 3 * third * first  # of the bend at the lowest point
    return float(third / np.sqrt(square)) if square > 0 else float("nan")
