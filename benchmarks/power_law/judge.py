"""The decisions of the experiment: pure functions of the law that was found and of losses over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two schedules compared; `winner` is None for a tie."""

    first: str
    second: str
    difference: float  # of mean losses, first minus second
    least: float  # a difference below this is one of seeds
    winner: str | None
    welch: float  # probability of such a difference by seeds alone, each schedule with its own spread


def holds(interval: Sequence[float] | None, value: float) -> bool | None:
    """Whether an exponent's interval holds a value; None where there is no interval."""
    return None if interval is None else interval[0] <= value <= interval[1]


def pooled_spread(losses: Mapping[str, Sequence[float]]) -> tuple[float, int]:
    """The standard deviation over seeds, pooled over schedules, and its degrees of freedom."""
    squares = sum(float(((np.array(values) - np.mean(values)) ** 2).sum()) for values in losses.values())
    freedom = sum(len(values) - 1 for values in losses.values())
    return float(np.sqrt(squares / freedom)), freedom


def duels(losses: Mapping[str, Sequence[float]]) -> Iterator[Duel]:
    """Every pair of schedules, by Student's t of the pooled spread."""
    spread, freedom = pooled_spread(losses)
    for first, second in combinations(losses, 2):
        error = spread * np.sqrt(1 / len(losses[first]) + 1 / len(losses[second]))
        least = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error)
        difference = float(np.mean(losses[first]) - np.mean(losses[second]))
        winner = None if abs(difference) <= least else (first if difference < 0 else second)
        welch = float(stats.ttest_ind(losses[first], losses[second], equal_var=False).pvalue)
        yield Duel(first=first, second=second, difference=difference, least=least, winner=winner, welch=welch)
