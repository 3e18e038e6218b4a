"""Round numbers along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator

STEPS = (1, 2, 2.5, 5, 10)


def ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, evenly spaced, about as many as `most` and no more."""
    step = round_step((high - low) / max(1, most - 1))
    first = math.ceil(low / step - 1e-9)
    return tuple(index * step for index in range(first, math.floor(high / step + 1e-9) + 1))


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is no less than `least`."""
    return next(step for step in _ascending(least) if step >= least * (1 - 1e-9))


def _ascending(least: float) -> Iterator[float]:
    exponent = math.floor(math.log10(least))
    for step in STEPS:  # a power of ten is given by name, since 10.0 ** -3 is not quite 1e-3
        yield step * float(f"1e{exponent}")
    yield 2 * float(f"1e{exponent + 1}")
