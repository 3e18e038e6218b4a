"""Critical batch sizes from the updates that every batch needs to a target loss.

updates = a + b / batch (McCandlish et al. 2018: a the least updates, b the least examples), fitted in
logarithms. What is called critical differs from paper to paper; both readings here are named:

half_efficiency   b / a: twice the least updates and twice the least tokens
overhead          share b/a + (1 + share) base: where the updates are `share` above linear scaling from a base
                  batch (Zhang et al. 2024, arXiv 2410.21676: 20 % from 256 sequences of 512 tokens)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares as solve

from pretrain.errors import UserError
from pretrain.laws.regression import Interval, least_squares, widest
from pretrain.laws.table import Array

MIN_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class StepsFit:
    """updates = a + b / batch, and the two critical batches in its unit; None where not enclosed."""

    a: float
    b: float
    factor: float  # typical distance of a point from the curve, as a factor
    base_batch: float
    share: float
    half_efficiency: float | None
    overhead: float | None
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """critical batch = coefficient x^exponent, with the exponent's 95 % interval (None with two points)."""

    coefficient: float
    exponent: float
    interval: Interval | None
    points: int


def fit_steps(
    batch: ArrayLike, updates: ArrayLike, *, base_batch: float | None = None, share: float = 0.2
) -> StepsFit:
    """The curve through one model's batches; `base_batch` is the least of them unless given."""
    batches, steps = np.asarray(batch, float), np.asarray(updates, float)
    if np.unique(batches).size < MIN_BATCHES:
        raise UserError(
            f"{np.unique(batches).size} batch size(s); updates = a + b / batch needs {MIN_BATCHES}"
        )
    base = float(base_batch or batches.min())
    a, b, factor = _fit(batches, steps)
    missing = tuple(_missing(batches, b / a))
    enclosed = not missing
    return StepsFit(
        a=a,
        b=b,
        factor=factor,
        base_batch=base,
        share=share,
        half_efficiency=b / a if enclosed else None,
        overhead=share * b / a + (1 + share) * base if enclosed else None,
        missing=missing,
    )


def _fit(batches: Array, steps: Array) -> tuple[float, float, float]:
    start = np.log([steps.min() / 2, np.median(steps * batches)])
    solved = solve(lambda p: np.logaddexp(p[0], p[1] - np.log(batches)) - np.log(steps), start)
    a, b = np.exp(solved.x)
    freedom = max(batches.size - 2, 1)
    return float(a), float(b), float(np.exp(np.sqrt(np.sum(solved.fun**2) / freedom)))


def _missing(batches: Array, half: float) -> list[str]:
    """Neither limb of the curve may be a guess."""
    if half > batches.max():
        return [f"updates still fall in proportion at the largest batch, {batches.max():g}: try larger ones"]
    if half < batches.min():
        return [f"updates no longer fall at the smallest batch, {batches.min():g}: try smaller ones"]
    return []


def growth(x: ArrayLike, critical: ArrayLike) -> Growth:
    """How a critical batch grows with tokens or parameters, as a line in logarithms."""
    logs = np.log(np.asarray(x, float))
    line = least_squares(np.stack([np.ones_like(logs), logs], axis=1), np.log(np.asarray(critical, float)))
    if line is None:
        raise UserError("a growth law needs a critical batch at two different places at least")
    return Growth(
        coefficient=float(np.exp(line.coefficients[0])),
        exponent=float(line.coefficients[1]),
        interval=widest(line.interval(1)),
        points=logs.size,
    )


def definitions(share: float, base: str) -> tuple[str, ...]:
    """What the two numbers stand for."""
    return (
        "half_efficiency: twice the least updates at twice the least tokens (b / a)",
        f"overhead: updates {share:.0%} above linear scaling from a batch of {base}",
    )
