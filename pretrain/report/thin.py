"""Curves of a million points as curves that can be drawn: the mean and the extremes of every few updates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_POINTS = 500
SMOOTHED_FROM = 100  # updates from which on a running mean is drawn over the single values
SMOOTHED_SHARE = 0.02  # of the updates, that each point of the mean covers


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """One point for every `each` values: the last x, the mean, the least and the greatest y; NaN left out."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    each: int


def thinned(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> Thinned:
    """At most so many points; values without a number are in no mean, and alone they stay without."""
    each = -(-len(x) // most) or 1
    if each == 1:
        return Thinned(x=x, mean=y, low=y, high=y, each=1)
    starts = np.arange(0, len(x), each)
    known = np.isfinite(y)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(known, y, 0.0), starts)
    finite = np.where(known, y, np.nan)
    return Thinned(
        x=x[np.minimum(starts + each, len(x)) - 1],
        mean=np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0),
        low=np.fmin.reduceat(finite, starts),
        high=np.fmax.reduceat(finite, starts),
        each=each,
    )


def running_mean(y: np.ndarray, width: int) -> np.ndarray:
    """The mean of `width` (odd) values around each, those without a number left out; NaN near both ends."""
    known = np.isfinite(y)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, y, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    number = counts[width:] - counts[:-width]
    means = np.full(len(y), np.nan)
    inside = means[width // 2 : len(y) - width // 2]  # a view
    np.divide(sums[width:] - sums[:-width], number, out=inside, where=number > 0)
    return means


def smoothing_width(num_values: int) -> int:
    """Over how many values a running mean goes: 1 where there are too few for one."""
    return round(num_values * SMOOTHED_SHARE) | 1 if num_values >= SMOOTHED_FROM else 1
