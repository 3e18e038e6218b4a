"""How a size goes with the width: the slope of log2(size) against log2(width), by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A power of the width, measured."""

    value: float  # NaN where a size was zero or not finite
    error: float  # standard error, from the spread over seeds; 0: unknown, every width had one seed


def slope(widths: Sequence[int], sizes: Sequence[Sequence[float]]) -> Slope:
    """The slope of the mean log size of each width; sizes[width][seed], any number of seeds a width."""
    if not all(0 < size < math.inf for of_width in sizes for size in of_width):
        return Slope(value=math.nan, error=0.0)
    logs = [[math.log2(size) for size in of_width] for of_width in sizes]
    weights = _weights([math.log2(width) for width in widths])
    value = sum(weight * fmean(of_width) for weight, of_width in zip(weights, logs, strict=True))
    noise = _noise(widths, logs)
    squares = (
        weight**2 * noise / width / len(of_width)
        for weight, width, of_width in zip(weights, widths, logs, strict=True)
    )
    return Slope(value=value, error=math.sqrt(sum(squares)))


def _weights(x: Sequence[float]) -> list[float]:
    """What each point counts in the slope of a line through points at x."""
    middle = fmean(x)
    spread = sum((one - middle) ** 2 for one in x)
    return [(one - middle) / spread for one in x]


def _noise(widths: Sequence[int], logs: Sequence[Sequence[float]]) -> float:
    """Variance over seeds times width, pooled: that of a mean over channels falls as 1/width."""
    several = [(width, of_width) for width, of_width in zip(widths, logs, strict=True) if len(of_width) > 1]
    freedom = sum(len(of_width) - 1 for _, of_width in several)
    sums = sum(width * variance(of_width) * (len(of_width) - 1) for width, of_width in several)
    return sums / freedom if freedom else 0.0
