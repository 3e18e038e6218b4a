"""An axis of a drawing: from values to places, linear or by powers of ten, with round numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NUM_TICKS = 5
MOST_DECADES = 6


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, laid out from the place `start` to the place `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    num_ticks: int = NUM_TICKS

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The places of values; beyond the ends there is none (NaN)."""
        share = (self._scaled(values) - self._low) / (self._high - self._low)
        inside = (share > -1e-9) & (share < 1 + 1e-9)
        return np.where(inside, self.start + share * (self.end - self.start), np.nan)

    def clamped(self, values: np.ndarray) -> np.ndarray:
        """As the call, but what lies beyond an end is drawn at that end."""
        return self(np.clip(values, self.low, self.high))

    def at(self, value: float) -> float:
        """The place of one value."""
        return float(self(np.array([value]))[0])

    def ticks(self) -> list[float]:
        """Round numbers within the axis."""
        return (
            log_ticks(self.low, self.high) if self.log else round_ticks(self.low, self.high, self.num_ticks)
        )

    @property
    def _low(self) -> float:
        return math.log10(self.low) if self.log else self.low

    @property
    def _high(self) -> float:
        return math.log10(self.high) if self.log else self.high

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if not self.log:
            return values
        return np.log10(np.where(values > 0, values, np.nan))


def axis(
    low: float,
    high: float,
    start: float,
    end: float,
    *,
    log: bool = False,
    room: float = 0.0,
    num_ticks: int = NUM_TICKS,
) -> Axis:
    """An axis around values from `low` to `high`, with `room` of their range beyond both; equal ends part."""
    if log:
        low, high = math.log10(low), math.log10(high)
    if not high > low:
        apart = abs(low) * 0.05 or 1.0
        low, high = low - apart, high + apart
    low, high = low - room * (high - low), high + room * (high - low)
    if log:
        low, high = 10**low, 10**high
    return Axis(low=low, high=high, start=start, end=end, log=log, num_ticks=num_ticks)


def round_ticks(low: float, high: float, number: int = NUM_TICKS) -> list[float]:
    """About so many multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 5, 10) if step * power >= rough * 0.999) * power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; where there are few, twice and five times them too; where they are many, not all."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1)]
    decades = _within(low, high, powers)
    if len(decades) >= 3:
        return decades[:: -(-len(decades) // MOST_DECADES)]
    finer = _within(low, high, [factor * power for power in powers for factor in (1, 2, 5)])
    return finer if len(finer) >= 3 else round_ticks(low, high)


def _within(low: float, high: float, values: list[float]) -> list[float]:
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def number(value: float) -> str:
    """A round number as short as it can be: `0.002`, `5`, `1e-05`."""
    return f"{value:.6g}"


def extent(parts: Iterable[np.ndarray]) -> tuple[float, float] | None:
    """The least and greatest number there; None where there is none."""
    known = [part[np.isfinite(part)] for part in parts]
    known = [part for part in known if len(part)]
    if not known:
        return None
    return min(float(part.min()) for part in known), max(float(part.max()) for part in known)
