"""How a learning rate falls to zero: f(x), exactly 1 at x = 0 and exactly 0 at x = 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

TailName = Literal["exponential", "linear", "cosine", "one_minus_sqrt"]


def exponential(x: float) -> float:
    """(e^-x - e^-1) / (1 - e^-1): IBM's exponential with end ratio 0 (arXiv 2408.13359, section 5)."""
    return (math.exp(-x) - math.exp(-1)) / (1 - math.exp(-1))


def linear(x: float) -> float:
    """1 - x."""
    return 1 - x


def cosine(x: float) -> float:
    """Half a cosine."""
    return (1 + math.cos(math.pi * x)) / 2


def one_minus_sqrt(x: float) -> float:
    """1 - sqrt(x) (Hägele et al. 2024, arXiv 2405.18392)."""
    return 1 - math.sqrt(x)


TAILS: Mapping[TailName, Callable[[float], float]] = {
    "exponential": exponential,
    "linear": linear,
    "cosine": cosine,
    "one_minus_sqrt": one_minus_sqrt,
}
