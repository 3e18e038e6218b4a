"""A loss curve: losses at some updates of a run, and the learning rate of every update up to the last.

Index t of `rates` is update t; update 0 is before the run and has its rate too (0 under a warm-up from 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What a law is fitted to, or is compared with."""

    name: str
    rates: Floats  # of update 0, 1, ... up to the last that has a loss
    steps: Steps  # updates whose loss is known, ascending
    losses: Floats  # nats a token

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.losses) or not len(self.steps):
            raise ValueError(f"{self.name}: {len(self.steps)} steps and {len(self.losses)} losses")
        if self.steps[-1] >= len(self.rates) or self.steps[0] < 0 or np.any(np.diff(self.steps) <= 0):
            raise ValueError(f"{self.name}: steps should ascend and have a rate each")
        if not (np.isfinite(self.rates).all() and (self.rates >= 0).all() and self.rates.any()):
            raise ValueError(f"{self.name}: rates should be finite, not negative and not all 0")
        if not (np.isfinite(self.losses).all() and (self.losses > 0).all()):
            raise ValueError(f"{self.name}: losses should be finite and positive")

    @property
    def peak(self) -> float:
        """The highest rate."""
        return float(self.rates.max())

    def from_step(self, first: int) -> Curve:
        """Without the losses before update `first`; the rates stay whole."""
        kept = self.steps >= first
        if not kept.any():
            raise ValueError(f"{self.name}: no loss from step {first} on; the last is at {self.steps[-1]}")
        return replace(self, steps=self.steps[kept], losses=self.losses[kept])

    def thinned(self, most: int) -> Curve:
        """At most `most` losses, each the mean of neighbours, at the step in their middle."""
        if len(self.steps) <= most:
            return self
        edges = np.linspace(0, len(self.steps), most + 1).astype(np.int64)
        counts = np.diff(edges)
        steps = np.round(np.add.reduceat(self.steps, edges[:-1]) / counts).astype(np.int64)
        losses = np.add.reduceat(self.losses, edges[:-1]) / counts
        return replace(self, steps=steps, losses=losses)


def warmup_steps(rates: Floats) -> int:
    """The update at which the rate stops rising for the first time; 0 where it never rises."""
    start = int(np.argmax(rates > 0))  # update 0 stands for no update and may have rate 0 like the first
    held = np.flatnonzero(np.diff(rates[start:]) <= 0)
    return start + int(held[0]) if len(held) else len(rates) - 1


def rates_between(steps: ArrayLike, rates: ArrayLike, *, warmup_steps: int | None = None) -> Floats:
    """The rate of every update from those of some, and a line from 0 to the first.

    With `warmup_steps` the line from 0 is that long, and the first given rate is held from there on.
    Between two others is a line, or a sudden change at the second where the rate is flat before and after.
    """
    at, given = np.asarray(steps, np.int64), np.asarray(rates, np.float64)
    if warmup_steps is not None and not 0 <= warmup_steps <= at[-1]:
        raise ValueError(f"a warm-up of {warmup_steps} steps does not fit into {at[-1]}")
    every = np.arange(at[-1] + 1)
    filled = np.interp(every, at, given)
    same = np.diff(given) == 0
    for jump in np.flatnonzero(~same[1:-1] & same[:-2] & same[2:]) + 1:
        filled[at[jump] : at[jump + 1]] = given[jump]
    if warmup_steps is None:
        filled[: at[0]] = np.linspace(0, given[0], at[0], endpoint=False)
    elif warmup_steps <= at[0]:
        # update 0 has rate 0 and the last of the warm-up the full one
        filled[:warmup_steps] = np.linspace(0, given[0], warmup_steps)
    return filled
