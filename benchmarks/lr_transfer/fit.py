"""From losses to one number: the slope of log2(best learning rate) against log2(width), and its interval.

The best rate of a curve is the lowest point of the parabola, in log2 of the rate, through its lowest loss
and the two beside it. The slope is that of ordinary least squares through the best rates of all widths and
seeds, its interval Student's from the residuals: seeds and bends of the line both widen it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Best:
    """The lowest point of a curve."""

    log2_lr: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Of a line, with half the width of its interval."""

    slope: float
    half_width: float | None  # None: too few points for one


def best(losses: Mapping[int, float]) -> Best | None:
    """The best of losses by log2 of the rate; None where the lowest stands at an end."""
    if not losses:
        return None
    middle = min(losses, key=lambda log2_lr: losses[log2_lr])
    if middle - 1 not in losses or middle + 1 not in losses:
        return None
    below, at, above = (losses[middle + step] for step in (-1, 0, 1))
    curvature = below - 2 * at + above
    if curvature == 0:  # three equal losses, as far above a uniform guess: no optimum
        return None
    shift = (below - above) / (2 * curvature)
    return Best(log2_lr=middle + shift, loss=at - curvature * shift**2 / 2)


def fit_slope(widths: Sequence[int], log2_lrs: Sequence[float]) -> Slope | None:
    """The slope over all (width, best rate) pairs; None for fewer than two widths."""
    if len(set(widths)) < 2:
        return None
    x, y = np.log2(np.array(widths, dtype=float)), np.array(log2_lrs)
    from_mean = x - x.mean()
    slope = float(from_mean @ y / (from_mean @ from_mean))
    freedom = len(x) - 2
    if freedom == 0:
        return Slope(slope=slope, half_width=None)
    residuals = y - y.mean() - slope * from_mean
    error = math.sqrt(residuals @ residuals / freedom / (from_mean @ from_mean))
    return Slope(slope=slope, half_width=student_quantile(freedom) * error)


def student_quantile(freedom: int) -> float:
    """How many standard errors the interval reaches; by drawing, good to a few parts in a thousand."""
    draws = np.random.default_rng(0).standard_t(freedom, size=1_000_000)
    return float(np.quantile(np.abs(draws), CONFIDENCE))
