"""Straight lines through logarithms: least squares with standard errors and t intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pretrain.laws.table import Array

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Coefficients of y = X c; the errors are NaN where there are as many coefficients as points."""

    coefficients: Array
    errors: Array
    points: int
    rss: float

    @property
    def freedom(self) -> int:
        """Points beyond those that fix the coefficients."""
        return self.points - self.coefficients.size

    @property
    def scatter(self) -> float:
        """Standard deviation about the line, in the units of y."""
        return float(np.sqrt(self.rss / self.freedom)) if self.freedom > 0 else float("nan")

    def interval(self, which: int, level: float = 0.95) -> Interval:
        """A coefficient's t interval, from the scatter of the points about the line."""
        reach = stats.t.ppf(0.5 + level / 2, self.freedom) if self.freedom > 0 else np.nan
        middle, error = self.coefficients[which], self.errors[which]
        return float(middle - reach * error), float(middle + reach * error)


def least_squares(design: Array, y: Array) -> Line | None:
    """The line, or None where the points do not fix every coefficient."""
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    inverse = np.linalg.pinv(design)
    coefficients = inverse @ y
    rest = y - design @ coefficients
    rss, freedom = float(rest @ rest), y.size - coefficients.size
    variance = rss / freedom if freedom > 0 else np.nan
    return Line(
        coefficients=coefficients,
        errors=np.sqrt(np.sum(inverse**2, axis=1) * variance),
        points=y.size,
        rss=rss,
    )


def widest(*intervals: Interval | None) -> Interval | None:
    """The least interval that holds all of those that are finite."""
    known = [pair for pair in intervals if pair is not None and np.isfinite(pair).all()]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def percentiles(samples: Array, level: float = 0.95, at_least: float = 0.5) -> Interval | None:
    """The middle of repetitions, or None where too few of them gave a number."""
    known = samples[np.isfinite(samples)]
    if known.size < max(20, at_least * samples.size):
        return None
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
