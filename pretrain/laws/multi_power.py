"""The Multi-Power Law: a loss from all learning rates so far (Luo et al. 2025, arXiv 2503.12811).

    L(t) = L0 + A S1(t)^-alpha - B sum_k (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k(t))^-beta]

S1(t)  the sum of the rates of updates 0 to t, warm-up included
S_k(t) the sum of those of updates k to t; k runs over 1 to t, so that the rise of a warm-up counts as well
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pretrain.laws.curves import Floats, Steps

LEAST_RATE = 1e-10  # a rate of 0 has no negative power
MOST_POINTS = 1000  # losses that are computed one by one; between them a line


@dataclass(frozen=True, kw_only=True)
class MultiPower:
    """The law with its seven positive constants."""

    NAME: ClassVar[str] = "mpl"

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float

    def losses(self, rates: Floats, steps: Steps) -> Floats:
        """The loss at each of `steps`, ascending, of a run with these rates."""
        at = _some(steps)
        sums, drops = np.cumsum(rates), -np.diff(rates, prepend=rates[0])
        where = np.flatnonzero(drops)
        scale = self.C * np.maximum(rates[where], LEAST_RATE) ** -self.gamma
        before, drops = sums[where] - rates[where], drops[where]
        gained = np.empty(len(at))
        for index, step in enumerate(at):
            now = np.searchsorted(where, step, side="right")
            left = (1 + scale[:now] * np.maximum(sums[step] - before[:now], 0)) ** -self.beta
            gained[index] = drops[:now] @ (1 - left)
        found = self.L0 + self.A * sums[at] ** -self.alpha - self.B * gained
        return np.interp(steps, at, found)


def _some(steps: Steps) -> Steps:
    if len(steps) <= MOST_POINTS:
        return steps
    return steps[np.linspace(0, len(steps) - 1, MOST_POINTS).astype(np.int64)]
