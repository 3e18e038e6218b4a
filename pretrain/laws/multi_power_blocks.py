"""The Multi-Power Law with drops taken together in blocks: fast enough to fit, with its derivatives.

Everything is in units of a run: rates of the peak, sums of rates of peak x length, so that the numbers to be
found are of order 1 at any scale, and their logarithms are what is searched over. Blocks end at the updates
with a loss and wherever the rate has moved by a small share of the peak, so that errors are far below a
loss's third decimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.laws.curves import Curve, Floats
from pretrain.laws.multi_power import LEAST_RATE, MultiPower

PER_PEAK = 400  # blocks that a fall from the peak to 0 is cut into
PER_RISE = 50  # likewise for a rise, which is a warm-up and lies far back


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A curve as the law sees it: points down, blocks across; what has not happened yet has drop 0."""

    log_sum: Floats  # of S1, a point each
    drop: NDArray[np.float64]  # points x blocks
    log_after: NDArray[np.float64]  # of S_k, points x blocks
    log_rate: Floats  # behind the drop, a block each

    def losses(self, theta: Floats) -> tuple[Floats, NDArray[np.float64]]:
        """At the logarithms (L0, A, alpha, B, C, beta, gamma): the losses, and their derivatives by these."""
        L0, A, alpha, B, _, beta, gamma = np.exp(theta)
        power = A * np.exp(-alpha * self.log_sum)
        x = np.exp(theta[4] + self.log_after - gamma * self.log_rate)
        grown = np.log1p(x)
        left = np.exp(-beta * grown)
        dropped = self.drop * left
        gain = B * (self.drop.sum(1) - dropped.sum(1))
        by_c = beta * dropped * (x / (1 + x))
        jacobian = np.stack(
            [
                np.full_like(power, L0),
                power,
                -alpha * power * self.log_sum,
                -gain,
                -B * by_c.sum(1),
                -B * beta * (dropped * grown).sum(1),
                B * gamma * (by_c @ self.log_rate),
            ],
            axis=1,
        )
        return L0 + power - gain, jacobian


def blocks(curve: Curve, peak: float, length: int) -> Blocks:
    """The blocks of a curve in units of `peak` and `length` updates."""
    rates = curve.rates / peak
    sums = np.cumsum(rates)
    drops = -np.diff(rates, prepend=rates[0])
    ends = _ends(drops, curve.steps)
    weight = np.add.reduceat(np.abs(drops), ends[:-1])
    used = np.flatnonzero(weight > 0)
    starts, stops = ends[:-1][used], ends[1:][used] - 1

    def mean(values: Floats) -> Floats:
        return np.add.reduceat(np.abs(drops) * values, ends[:-1])[used] / weight[used]

    drop = np.add.reduceat(drops, ends[:-1])[used]
    before, rate = mean(sums - rates), mean(np.maximum(rates, LEAST_RATE / peak))
    now = stops <= curve.steps[:, None]
    after = np.where(now, np.maximum(sums[curve.steps][:, None] - before, 1e-300), 1.0) / length
    assert (starts >= 0).all()
    return Blocks(
        log_sum=np.log(sums[curve.steps] / length),
        drop=np.where(now, drop, 0.0),
        log_after=np.log(after),
        log_rate=np.log(rate),
    )


def _ends(drops: Floats, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where blocks begin, 0 first, and the number of updates last."""
    fine = np.where(drops > 0, PER_PEAK, PER_RISE)
    moved = np.floor(np.cumsum(np.abs(drops) * fine))
    turns = np.flatnonzero(np.diff(moved, prepend=0) > 0) + 1
    signs = np.flatnonzero(np.diff(np.sign(drops)) != 0) + 1
    inside = np.concatenate([[0], turns, signs, steps + 1])
    return np.unique(np.append(inside[inside < len(drops)], len(drops)))


def from_units(theta: Floats, peak: float, length: int) -> MultiPower:
    """The law in rates and updates as they are."""
    L0, A, alpha, B, C, beta, gamma = (float(value) for value in np.exp(theta))
    whole = peak * length
    return MultiPower(
        L0=L0, A=A * whole**alpha, alpha=alpha, B=B / peak, C=C * peak**gamma / whole, beta=beta, gamma=gamma
    )


def to_units(law: MultiPower, peak: float, length: int) -> Floats:
    """The logarithms that `losses` takes."""
    whole = peak * length
    A, B = law.A * whole**-law.alpha, law.B * peak
    C = law.C * peak**-law.gamma * whole
    return np.log([law.L0, A, law.alpha, B, C, law.beta, law.gamma])
