"""The last-iterate bound of convex theory for a schedule (Schaipp et al. 2025, arXiv 2501.18965).

    Omega = D^2 / 2S + Q_1 / 2S + 1/2 sum_{k<T} [eta_k / R_k] [Q_k / (eta_k + R_k)]

with S the sum of all T rates, R_k of those behind k, and Q_k that of eta_t^2 G_t^2 from k on. For a shape
times a base rate c it is the first term / c plus c times the other two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from pretrain.laws.curves import Floats

FACTORS = np.arange(8, 41) / 40  # grid of the authors' search
COOLDOWNS = np.linspace(0.1, 1, 33)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The three terms for a shape, at base rate 1."""

    distance: float
    noise: float
    last: float

    @property
    def growing(self) -> float:
        """What grows with the base rate; the first term falls."""
        return self.noise + self.last

    @property
    def best_rate(self) -> float:
        """The base rate at which the bound is least."""
        return float(np.sqrt(self.distance / self.growing))

    @property
    def best(self) -> float:
        """The bound there."""
        return float(2 * np.sqrt(self.distance * self.growing))

    def at(self, rate: float) -> float:
        """The bound at a base rate."""
        return self.distance / rate + rate * self.growing


def bound(shape: ArrayLike, *, distance: float = 1.0, gradient_norms: ArrayLike = 1.0) -> Bound:
    """The bound after all rates of `shape`, the last of which may not be 0."""
    rates = np.asarray(shape, float)
    if not len(rates) or rates[-1] <= 0 or (rates < 0).any():
        raise ValueError("a shape needs rates that are not negative, and a last one above 0")
    squares = rates**2 * np.broadcast_to(np.asarray(gradient_norms, float), rates.shape) ** 2
    sums, tails = np.cumsum(rates[::-1])[::-1], np.cumsum(squares[::-1])[::-1]
    last = rates[:-1] / sums[1:] * tails[:-1] / sums[:-1]
    return Bound(
        distance=float(distance**2 / (2 * sums[0])),
        noise=float(tails[0] / (2 * sums[0])),
        last=float(last.sum() / 2),
    )


def constant(steps: int) -> Floats:
    """No fall."""
    return np.ones(steps)


def cosine(steps: int) -> Floats:
    """Half a cosine that would be 0 one update after the last."""
    return 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))


def wsd(steps: int, cooldown: float = 0.2, *, root: bool = False) -> Floats:
    """A plateau, and for the share `cooldown` a fall to 0 one update after the last: a line or 1 - sqrt."""
    falling = int(cooldown * (steps + 1))
    falling -= falling > steps  # nothing but a fall still begins at 1
    x = np.arange(1, falling + 1) / max(1, falling)
    fall = 1 - (np.sqrt(x) if root else x)
    return np.concatenate([np.ones(steps + 1 - falling), fall])[:steps] if falling else np.ones(steps)


def linear(steps: int) -> Floats:
    """One line to 0."""
    return wsd(steps, 1.0)


def extension_factor(steps: int, longer: int, cooldown: float = 0.2) -> float:
    """What to multiply a plateau's rate by when a run is extended, so that its base rate stays the best.

    From the update on at which the shorter run would have begun its fall; the fall keeps its share.
    """
    wanted = bound(wsd(steps, cooldown)).best_rate
    held = int((1 - cooldown) * steps)
    shape = wsd(longer, cooldown)
    return _nearest(FACTORS, wanted, lambda factor: _lowered(shape, held, factor))


def extension_cooldown(steps: int, longer: int, cooldown: float = 0.2) -> float:
    """The share of a fall that makes the same base rate the best for a longer run."""
    wanted = bound(wsd(steps, cooldown)).best_rate
    return _nearest(COOLDOWNS, wanted, partial(wsd, longer))


def _nearest(candidates: Floats, wanted: float, shape: Callable[[float], Floats]) -> float:
    rates = np.array([bound(shape(float(one))).best_rate for one in candidates])
    return float(candidates[np.abs(rates - wanted).argmin()])


def _lowered(shape: Floats, held: int, factor: float) -> Floats:
    return np.concatenate([shape[:held], factor * shape[held:]])
