"""How much a learning rate off its optimum costs, and how that changes with tokens, batch and size.

The cost of an optimum is the mean rise of the loss at twice and at half the best rate. Of a parabola with a
skew it is bend (ln 2)^2: what the skew adds above the optimum it takes away below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.laws.general_fit import Exponent
from pretrain.laws.optimum import Optimum, centred, windows
from pretrain.laws.parabola import common_skew, lowest, powers
from pretrain.laws.regression import least_squares, widest
from pretrain.laws.table import Array

FACTOR = 2.0
SQUARE = float(np.log(FACTOR) ** 2)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a factor of 2 in the rate costs at one (size, tokens, batch), in nats."""

    N: float
    T: float
    batch_tokens: float
    rise: float
    rise_se: float  # NaN where the noise is unknown


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Every cost, and the exponents of rise ~ T^tokens batch^batch N^size; None for what does not vary."""

    costs: tuple[Cost, ...]
    tokens: Exponent | None
    batch: Exponent | None
    size: Exponent | None


def sensitivity(optima: Sequence[Optimum], noise: float) -> Sensitivity:
    """The costs at all optima that the rates enclose; flagged ones say nothing."""
    found = [one for one in optima if not one.flag]
    skew = common_skew(centred(one.cell, windows(one.cell)[0]) for one in found)
    costs = tuple(_cost(one, noise, skew) for one in found)
    return Sensitivity(costs=costs, **_exponents(costs))


def _cost(one: Optimum, noise: float, skew: float) -> Cost:
    x, losses = centred(one.cell, list(one.window))
    errors = one.cell.errors(noise)[list(one.window)] * np.linalg.pinv(powers(x))[2]
    return Cost(
        N=one.cell.N,
        T=one.cell.T,
        batch_tokens=one.cell.batch_tokens,
        rise=float(lowest(x, losses[None], skew).bend[0]) * SQUARE,
        rise_se=float(np.sqrt(np.sum(errors**2))) * SQUARE,
    )


def _exponents(costs: Sequence[Cost]) -> dict[str, Exponent | None]:
    columns: dict[str, Array] = {
        "tokens": np.log([cost.T for cost in costs]),
        "batch": np.log([cost.batch_tokens for cost in costs]),
        "size": np.log([cost.N for cost in costs]),
    }
    found: dict[str, Exponent | None] = dict.fromkeys(columns)
    moving = [name for name, column in columns.items() if np.unique(column).size > 1]
    if not moving or len(costs) <= len(moving) + 1:
        return found
    design = np.stack([np.ones(len(costs)), *(columns[name] for name in moving)], axis=1)
    line = least_squares(design, np.log([cost.rise for cost in costs]))
    if line is not None:
        for i, name in enumerate(moving, start=1):
            found[name] = Exponent(value=float(line.coefficients[i]), interval=widest(line.interval(i)))
    return found
