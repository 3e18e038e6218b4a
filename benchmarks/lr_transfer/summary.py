"""The results arranged for reading: four panels, in each the curves of every width and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.lr_transfer.fit import Best, Slope, best, fit_slope
from benchmarks.lr_transfer.grid import Curve, bounded
from benchmarks.lr_transfer.train import Outcome
from benchmarks.lr_transfer.trial import ARCHITECTURES, PARAMETRISATIONS, Architecture, Parametrisation


@dataclass(frozen=True, kw_only=True)
class SeedCurve:
    """Losses by log2 of the rate, no higher than a uniform guess; the rates that diverged; the best."""

    width: int
    losses: Mapping[int, float]
    diverged: tuple[int, ...]
    best: Best | None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What one picture of four shows."""

    architecture: Architecture
    parametrisation: Parametrisation
    curves: Sequence[SeedCurve]
    slope: Slope | None

    @property
    def widths(self) -> list[int]:
        """Narrowest first."""
        return sorted({curve.width for curve in self.curves})

    def of_width(self, width: int) -> list[SeedCurve]:
        """The curves of all seeds."""
        return [curve for curve in self.curves if curve.width == width]

    def bests(self, width: int) -> list[Best]:
        """The best of every seed whose lowest loss lies inside."""
        return [curve.best for curve in self.of_width(width) if curve.best is not None]


def mean_best(bests: Sequence[Best]) -> Best:
    """The mean over seeds."""
    return Best(
        log2_lr=float(np.mean([found.log2_lr for found in bests])),
        loss=float(np.mean([found.loss for found in bests])),
    )


def panels(every: Sequence[Curve], outcomes: Mapping[str, Outcome]) -> list[Panel]:
    """The four, dense first."""
    return [
        _panel(architecture, parametrisation, every, outcomes)
        for architecture in ARCHITECTURES
        for parametrisation in PARAMETRISATIONS
    ]


def _panel(
    architecture: Architecture,
    parametrisation: Parametrisation,
    every: Sequence[Curve],
    outcomes: Mapping[str, Outcome],
) -> Panel:
    found = [
        _seed_curve(curve, outcomes)
        for curve in every
        if curve.any_trial.architecture == architecture and curve.any_trial.parametrisation == parametrisation
    ]
    bests = [(curve.width, curve.best.log2_lr) for curve in found if curve.best is not None]
    return Panel(
        architecture=architecture,
        parametrisation=parametrisation,
        curves=found,
        slope=fit_slope([width for width, _ in bests], [log2_lr for _, log2_lr in bests]),
    )


def _seed_curve(curve: Curve, outcomes: Mapping[str, Outcome]) -> SeedCurve:
    made = curve.made(outcomes).values()
    losses = {trial.log2_lr: bounded(outcomes, trial) for trial in made}
    return SeedCurve(
        width=curve.any_trial.width,
        losses=losses,
        diverged=tuple(trial.log2_lr for trial in made if outcomes[trial.key].diverged),
        best=best(losses),
    )
