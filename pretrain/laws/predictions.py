"""The losses that a fitted law predicts for a schedule, or for a curve whose losses it is then scored on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megatron_lite.schedules.base import Schedule
from pretrain.errors import UserError
from pretrain.laws.curve_files import read_curves
from pretrain.laws.curve_scores import Scores, score
from pretrain.laws.curves import Floats, Steps
from pretrain.laws.fitted_law import Band, FittedLaw
from pretrain.laws.schedule_rates import schedule_rates

NUM_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Losses at some updates."""

    steps: Steps
    rates: Floats
    band: Band
    batch_tokens: int | None
    measured: Floats | None  # of a curve
    scores: Scores | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """`points`, and for a curve `scores`."""
        points = [self.row(index) for index in range(len(self.steps))]
        return {"points": points, "scores": asdict(self.scores) if self.scores else None}

    def row(self, index: int) -> dict[str, Any]:
        """One of the updates."""
        step = int(self.steps[index])
        found: dict[str, Any] = {"step": step}
        if self.batch_tokens is not None:
            found["tokens"] = step * self.batch_tokens
        found["lr"] = float(self.rates[index])
        found["loss"] = float(self.band.losses[index])
        found["low"], found["high"] = float(self.band.low[index]), float(self.band.high[index])
        if self.measured is not None:
            found["measured"] = float(self.measured[index])
        return found


def of_schedule(
    fitted: FittedLaw,
    schedule: Schedule,
    *,
    tokens: int,
    batch_tokens: int,
    every_tokens: int | None = None,
) -> Prediction:
    """At the end of the run and at 20 places, or every so many tokens, up to it."""
    rates = schedule_rates(schedule, tokens=tokens, batch_tokens=batch_tokens)
    last = len(rates) - 1
    every = max(1, every_tokens // batch_tokens) if every_tokens else max(1, last // NUM_ROWS)
    steps = np.unique(np.append(np.arange(last, 0, -every), last)).astype(np.int64)
    steps = steps[np.cumsum(rates)[steps] > 0]  # before the first rate above 0 nothing is learnt
    if not len(steps):
        raise UserError(f"schedule {schedule.name}: its rate is 0 throughout")
    return Prediction(
        steps=steps,
        rates=rates[steps],
        band=fitted.predict(rates, steps),
        batch_tokens=batch_tokens,
        measured=None,
        scores=None,
        notes=tuple(fitted.outside(rates)),
    )


def of_curve(fitted: FittedLaw, path: Path, *, warmup_steps: int | None = None) -> Prediction:
    """At the steps of a file, from the end of its warm-up on."""
    (curve,), batch_tokens = read_curves([path], warmup_steps=warmup_steps)
    if batch_tokens is not None:
        batch_of(fitted, batch_tokens)
    band = fitted.predict(curve.rates, curve.steps)
    return Prediction(
        steps=curve.steps,
        rates=curve.rates[curve.steps],
        band=band,
        batch_tokens=batch_tokens,
        measured=curve.losses,
        scores=score(band.losses, curve.losses),
        notes=tuple(fitted.outside(curve.rates)),
    )


def batch_of(fitted: FittedLaw, asked: int | None) -> int:
    """Tokens of an update; UserError where that is not known or not the fitted runs'."""
    if fitted.batch_tokens is None and asked is None:
        raise UserError(
            "--batch-tokens is missing, and the curves of the law do not tell the tokens of an update"
        )
    if None not in (fitted.batch_tokens, asked) and asked != fitted.batch_tokens:
        raise UserError(
            f"--batch-tokens {asked}: the law counts updates of {fitted.batch_tokens} tokens, as in the runs "
            "that it was fitted to; it does not know what larger or smaller ones are worth"
        )
    return asked or fitted.batch_tokens or 0
