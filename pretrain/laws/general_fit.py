"""The general law log lr = A log T + B log batch + C log N + constant, over every optimum of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.laws.optimum import Optimum
from pretrain.laws.regression import Interval, least_squares, percentiles, widest
from pretrain.laws.table import Array


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """One exponent and its 95 % interval (None where nothing gives one)."""

    value: float
    interval: Interval | None

    def excludes(self, value: float) -> bool:
        """Whether the interval is there and leaves this value out."""
        return self.interval is not None and not self.interval[0] <= value <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class GeneralLaw:
    """lr = exp(constant) T^tokens batch^batch N^size, the batch in tokens; None for what does not vary."""

    constant: float
    tokens: Exponent | None
    batch: Exponent | None
    size: Exponent | None
    points: int
    factor: float

    def lr(self, T: float, batch_tokens: float, N: float) -> float:
        """The law's rate of the group with ratio 1."""
        logs = ((self.tokens, T), (self.batch, batch_tokens), (self.size, N))
        return float(np.exp(self.constant + sum(e.value * np.log(x) for e, x in logs if e is not None)))


def general_law(optima: Sequence[Optimum], repeated: Array | None) -> GeneralLaw | None:
    """The law through all optima; None where they are too few or what varies does so together."""
    columns = {
        "tokens": np.log([optimum.cell.T for optimum in optima]),
        "batch": np.log([optimum.cell.batch_tokens for optimum in optima]),
        "size": np.log([optimum.cell.N for optimum in optima]),
    }
    moving = [name for name, column in columns.items() if np.unique(column).size > 1]
    if not moving or len(optima) <= len(moving) + 1:
        return None
    design = np.stack([np.ones(len(optima)), *(columns[name] for name in moving)], axis=1)
    line = least_squares(design, np.array([optimum.log_lr for optimum in optima]))
    if line is None:
        return None
    samples = None if repeated is None else np.linalg.pinv(design) @ repeated.T
    found = {
        name: Exponent(
            value=float(line.coefficients[i]),
            interval=widest(line.interval(i), None if samples is None else percentiles(samples[i])),
        )
        for i, name in enumerate(moving, start=1)
    }
    return GeneralLaw(
        constant=float(line.coefficients[0]),
        tokens=found.get("tokens"),
        batch=found.get("batch"),
        size=found.get("size"),
        points=len(optima),
        factor=float(np.exp(line.scatter)),
    )
