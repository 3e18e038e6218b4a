"""Which source each sequence comes from: weights kept exactly, by a fixed pattern that repeats.

Weights become whole numbers of sequences in a period of at most LARGEST_PERIOD. Within it, sequence j of a
source with share s has the window from floor((j - 1)/s) to ceil(j/s); the earliest deadline goes first. That
always fits (Tijdeman 1980), and keeps every source's count within less than 1 of its share at every point.
Choosing the source that is furthest behind, the usual way, does not: with many sources it drifts further.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

LARGEST_PERIOD = 10_000


class Mixture:
    """An endless pattern of sources."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.names = tuple(sorted(weights))  # the order in which a config lists them means nothing
        self.parts = whole_parts([weights[name] for name in self.names])
        self.period = sum(self.parts)
        self._pattern = _earliest_deadline_first(self.parts)
        taken = np.eye(len(self.parts), dtype=np.int32)[self._pattern]
        self._counts = np.concatenate([np.zeros_like(taken[:1]), np.cumsum(taken, axis=0, dtype=np.int32)])

    def source(self, i: int) -> str:
        """The source of sequence i."""
        return self.names[self._pattern[i % self.period]]

    def count(self, name: str, i: int) -> int:
        """How many of the first i sequences come from `name`."""
        which = self.names.index(name)
        return i // self.period * self.parts[which] + int(self._counts[i % self.period, which])


def describe_mix(weights: Mapping[str, float]) -> str:
    """The shares that sources really have, for people: their sequences in a period, and its length."""
    parts = whole_parts(list(weights.values()))
    shares = ", ".join(f"{name} {part:,}" for name, part in zip(weights, parts, strict=True))
    return f"{shares} of {sum(parts):,}"


def whole_parts(weights: list[float]) -> list[int]:
    """Whole numbers in proportion to the weights: exactly where LARGEST_PERIOD allows, else to 1 part in it.

    No source is rounded away: the least is one part.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    parts = math.lcm(*(share.denominator for share in shares))
    if parts > LARGEST_PERIOD:
        parts = LARGEST_PERIOD
        if len(weights) > parts:
            raise ValueError(f"a mix has at most {LARGEST_PERIOD} sources, not {len(weights)}")
    return _largest_remainders([share * parts for share in shares])


def _largest_remainders(wanted: list[Fraction]) -> list[int]:
    """Whole numbers with the same sum, each rounded down or up, at least 1."""
    rounded = [max(1, math.floor(value)) for value in wanted]
    while (missing := int(sum(wanted)) - sum(rounded)) != 0:
        step = 1 if missing > 0 else -1
        able = [k for k in range(len(wanted)) if rounded[k] + step >= 1]
        rounded[max(able, key=lambda k: (step * (wanted[k] - rounded[k]), -k))] += step
    return rounded


def _earliest_deadline_first(parts: list[int]) -> list[int]:
    period = sum(parts)
    released = [(0, which, 1) for which in range(len(parts))]  # (slot, source, number of its sequence)
    ready: list[tuple[int, int, int]] = []  # (deadline, source, number)
    pattern = []
    for slot in range(period):
        while released and released[0][0] <= slot:
            _, which, number = heapq.heappop(released)
            heapq.heappush(ready, (-(-number * period // parts[which]), which, number))
        deadline, which, number = heapq.heappop(ready)
        assert deadline > slot
        pattern.append(which)
        heapq.heappush(released, (number * period // parts[which], which, number + 1))
    return pattern
