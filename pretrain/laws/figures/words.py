"""Numbers as figures and their sentences write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pretrain.laws.general_fit import Exponent
from pretrain.laws.regression import Interval

UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def short(count: float) -> str:
    """A count of tokens or parameters in three digits, such as 24.1M."""
    rounded = float(f"{count:.3g}")
    for size, unit in UNITS:
        if rounded >= size:
            return f"{rounded / size:.3g}{unit}"
    return f"{rounded:.3g}"


def rate(value: float) -> str:
    """A learning rate in three digits."""
    return f"{value:.3g}"


def interval(pair: Interval | None, form: str = ".3f") -> str:
    """` (95 %: low to high)`, or that there is none."""
    return f" (95 %: {pair[0]:{form}} to {pair[1]:{form}})" if pair else " (no interval)"


def power(of: str, exponent: Exponent | None) -> str | None:
    """`T^-0.51 (95 %: ...)`; None where it does not vary."""
    return None if exponent is None else f"{of}^{exponent.value:.3f}{interval(exponent.interval)}"


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the straight line through two or more points in logarithms."""
    logs, values = [math.log(one) for one in x], [math.log(one) for one in y]
    middle, level = sum(logs) / len(logs), sum(values) / len(values)
    square = sum((one - middle) ** 2 for one in logs)
    return sum((a - middle) * (b - level) for a, b in zip(logs, values, strict=True)) / square
