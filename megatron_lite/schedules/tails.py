"""How a learning rate falls at the end of a run: f(x), exactly 1 at x = 0 and exactly 0 at x = 1.

A decay ends at the share r of the rate before it: it is r + (1 - r) f(x). Geometric alone is r^x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

TailName = Literal[
    "exponential", "linear", "cosine", "one_minus_sqrt", "square", "mirror_cosine", "power_1_5", "geometric"
]


def exponential(x: float) -> float:
    """(e^-x - e^-1) / (1 - e^-1): IBM's exponential with end ratio 0 (arXiv 2408.13359, section 5).

    With an end ratio r theirs is r + (1 - r) f as well.
    """
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


def square(x: float) -> float:
    """1 - x^2 (ibid.)."""
    return 1 - x * x


def mirror_cosine(x: float) -> float:
    """2 (1 - x) - cosine: the cosine mirrored at the line (ibid.)."""
    return 2 * linear(x) - cosine(x)


def power_1_5(x: float) -> float:
    """(1 - x)^1.5: what the Multi-Power Law finds best (Luo et al. 2025, arXiv 2503.12811)."""
    return (1 - x) ** 1.5


def geometric(x: float, end: float) -> float:
    """end^x: the same factor for each token; reaches any share but 0.

    MiniCPM's half-life, 0.5^(tokens / T_half), is `end` = 0.5^(decay_tokens / T_half), and GPT-NeoX's
    exponential, which ends at half its peak, `end` = 0.5. The Multi-Power Law's WSD has it as well.
    """
    return math.pow(end, x)


TAILS: Mapping[TailName, Callable[[float], float]] = {
    "exponential": exponential,
    "linear": linear,
    "cosine": cosine,
    "one_minus_sqrt": one_minus_sqrt,
    "square": square,
    "mirror_cosine": mirror_cosine,
    "power_1_5": power_1_5,
}


def share_left(decay: TailName, x: float, end: float) -> float:
    """The share of the rate before the decay that is left at x: 1 at 0, `end` at 1."""
    return geometric(x, end) if decay == "geometric" else end + (1 - end) * TAILS[decay](x)
