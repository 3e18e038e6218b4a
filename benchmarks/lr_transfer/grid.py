"""Which learning rates a curve still needs: a first stretch, then outward until its lowest is inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.lr_transfer.train import Outcome
from benchmarks.lr_transfer.trial import ARCHITECTURES, PARAMETRISATIONS, Recipe, Trial

# Where first tries found the best rates of the narrowest width; the stretch need only be near it.
FIRST_GUESS = {("mup", "dense"): -5, ("mup", "moe"): -5, ("standard", "dense"): -6, ("standard", "moe"): -6}
GUESSED_SLOPE = {"mup": 0.0, "standard": -0.75}  # of log2(best rate) against log2(width)
GUESSED_AT_WIDTH = 64
WIDEST_STEP = 14  # a curve is given up this far (in factors of 2) from its guess


@dataclass(frozen=True, kw_only=True)
class Width:
    """How much is spent on a width."""

    width: int
    points: int  # of the first stretch
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Loss against learning rate, all else the same."""

    any_trial: Trial  # any of its trials
    points: int

    @property
    def guess(self) -> int:
        """log2 of the middle of the first stretch."""
        trial = self.any_trial
        slope = GUESSED_SLOPE[trial.parametrisation]
        rise = slope * math.log2(trial.width / GUESSED_AT_WIDTH)
        return round(FIRST_GUESS[trial.parametrisation, trial.architecture] + rise)

    @property
    def all_rates(self) -> range:
        """log2 of every rate that it may come to."""
        return range(self.guess - WIDEST_STEP, self.guess + WIDEST_STEP + 1)

    def trial(self, log2_lr: int) -> Trial:
        """Its trial at this learning rate."""
        return replace(self.any_trial, log2_lr=log2_lr)

    def made(self, outcomes: Mapping[str, Outcome]) -> dict[str, Trial]:
        """Its finished trials by key, slowest learning rate first."""
        trials = [self.trial(log2_lr) for log2_lr in self.all_rates]
        return {trial.key: trial for trial in trials if trial.key in outcomes}

    def missing(self, outcomes: Mapping[str, Outcome]) -> list[Trial]:
        """Trials still to be made, given those that are; none when the lowest loss lies inside."""
        reach = self.points // 2
        first = [self.trial(self.guess + step) for step in range(-reach, reach + 1)]
        missing = [trial for trial in first if trial.key not in outcomes]
        if missing:
            return sorted(missing, key=lambda trial: abs(trial.log2_lr - self.guess))
        low, high = self.tried(outcomes)
        best = min(range(low, high + 1), key=lambda log2_lr: bounded(outcomes, self.trial(log2_lr)))
        outward = [low - 1] * (best == low) + [high + 1] * (best == high)
        return [self.trial(log2_lr) for log2_lr in outward if log2_lr in self.all_rates]

    def tried(self, outcomes: Mapping[str, Outcome]) -> tuple[int, int]:
        """The two ends of the unbroken stretch around the guess that was tried."""
        low = high = self.guess
        while self.trial(low - 1).key in outcomes:
            low -= 1
        while self.trial(high + 1).key in outcomes:
            high += 1
        return low, high


def bounded(outcomes: Mapping[str, Outcome], trial: Trial) -> float:
    """The loss, but no more than that of a model that holds every token for equally likely."""
    loss = outcomes[trial.key].loss
    highest = math.log(trial.recipe.vocab_size)
    return highest if loss is None else min(loss, highest)


def curves(recipe: Recipe, widths: list[Width]) -> list[Curve]:
    """Every curve of the comparison: those of the first seed first, wide ones, which take longest, before."""
    every = [
        Curve(
            any_trial=Trial(
                recipe=recipe,
                architecture=architecture,
                parametrisation=parametrisation,
                width=width.width,
                log2_lr=0,
                seed=seed,
            ),
            points=width.points,
        )
        for width in widths
        for seed in range(width.seeds)
        for architecture in ARCHITECTURES
        for parametrisation in PARAMETRISATIONS
    ]
    return sorted(every, key=lambda curve: (curve.any_trial.seed, -curve.any_trial.width))


def missing(every: list[Curve], outcomes: Mapping[str, Outcome]) -> list[Trial]:
    """What all curves still need, as far as is known now."""
    return [trial for curve in every for trial in curve.missing(outcomes)]
