"""The annealing law: a loss from the sum of rates and their fall (Tissue et al. 2024, arXiv 2408.11029).

    L(s) = L0 + A S1^-alpha - C S2,  S2 = sum of m_1 to m_s,  m_i = memory m_{i-1} + (eta_{i-1} - eta_i)

As the authors have it, a warm-up counts at the rate it ends with. S2 takes 1 / (1 - memory) updates to see
a fall in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from pretrain.laws.curves import Curve, Floats, Steps, warmup_steps

MEMORY = 0.999  # the authors' choice


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """The law with its four positive constants."""

    NAME: ClassVar[str] = "annealing"

    L0: float
    A: float
    alpha: float
    C: float
    memory: float = MEMORY

    def losses(self, rates: Floats, steps: Steps) -> Floats:
        """The loss at each of `steps` of a run with these rates."""
        total, fallen = sums(rates, self.memory)
        return self.L0 + self.A * total[steps] ** -self.alpha - self.C * fallen[steps]


@dataclass(frozen=True, kw_only=True)
class Sums:
    """A curve as the law sees it, in units of a run's highest rate and length."""

    log_sum: Floats  # of S1, a point each
    fallen: Floats  # S2

    def losses(self, theta: Floats) -> tuple[Floats, NDArray[np.float64]]:
        """At the logarithms (L0, A, alpha, C): the losses, and their derivatives by these."""
        L0, A, alpha, C = np.exp(theta)
        power = A * np.exp(-alpha * self.log_sum)
        rows = [np.full_like(power, L0), power, -alpha * power * self.log_sum, -C * self.fallen]
        return L0 + power - C * self.fallen, np.stack(rows, axis=1)


def sums(rates: Floats, memory: float) -> tuple[Floats, Floats]:
    """S1 and S2 after every update."""
    warm = warmup_steps(rates)
    level = np.concatenate([np.full(warm, rates[warm]), rates[warm:]])
    momentum = lfilter([1.0], [1.0, -memory], -np.diff(level, prepend=level[0]))
    return np.cumsum(level), np.cumsum(momentum)


def prepared(curve: Curve, peak: float, length: int, memory: float = MEMORY) -> Sums:
    """A curve in units of `peak` and `length` updates."""
    total, fallen = sums(curve.rates / peak, memory)
    return Sums(log_sum=np.log(total[curve.steps] / length), fallen=fallen[curve.steps])


def from_units(theta: Floats, peak: float, length: int, memory: float = MEMORY) -> Annealing:
    """The law in rates and updates as they are."""
    L0, A, alpha, C = (float(value) for value in np.exp(theta))
    return Annealing(L0=L0, A=A * (peak * length) ** alpha, alpha=alpha, C=C / peak, memory=memory)
