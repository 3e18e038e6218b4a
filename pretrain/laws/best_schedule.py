"""The optimised schedule of a fitted law beside plain ones of the same peak and length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.errors import UserError
from pretrain.laws.curves import Floats
from pretrain.laws.fitted_law import FittedLaw
from pretrain.laws.multi_power import MultiPower
from pretrain.laws.optimised import Optimised, optimise


@dataclass(frozen=True, kw_only=True)
class BestSchedule:
    """What was found, and the last losses that the law predicts for it and for others."""

    found: Optimised
    compared: tuple[tuple[str, float, float, float], ...]  # name, loss, and between what nine in ten lie
    notes: tuple[str, ...]

    @property
    def words(self) -> str:
        """Its shape."""
        return (
            f"At the peak for the first {self.found.flat_share:.1%} of the run, then falling to "
            f"{self.found.last_share:.2%} of it."
        )

    def to_json(self) -> dict[str, Any]:
        """Losses by schedule, and the shape."""
        return {
            "predicted": {
                name: {"loss": loss, "low": low, "high": high} for name, loss, low, high in self.compared
            },
            "without_warmup_rise": {
                "optimised": self.found.searched_loss,
                "constant": self.found.constant_loss,
            },
            "flat_share": self.found.flat_share,
            "last_share": self.found.last_share,
        }


def best_schedule(fitted: FittedLaw, *, steps: int, peak: float, warmup_steps: int = 0) -> BestSchedule:
    """The optimised schedule; UserError for a law that has no sensible one."""
    if not isinstance(fitted.law, MultiPower):
        raise UserError(
            "the annealing law values a sudden fall to 0 most, which no run should follow; "
            "optimise needs a law of `pretrain laws fit-curve --law mpl`"
        )
    found = optimise(fitted.law, steps=steps, peak=peak, warmup_steps=warmup_steps)
    x = np.arange(steps - warmup_steps) / (steps - warmup_steps)
    warm = found.rates[: warmup_steps + 1]
    others = {
        "optimised": found.rates,
        "cosine to 0": np.append(warm, peak * (1 + np.cos(np.pi * x)) / 2),
        "linear to 0": np.append(warm, peak * (1 - x)),
        "constant": np.append(warm, np.full(len(x), peak)),
    }
    return BestSchedule(
        found=found,
        compared=tuple((name, *_last(fitted, rates)) for name, rates in others.items()),
        notes=tuple(fitted.outside(found.rates)),
    )


def _last(fitted: FittedLaw, rates: Floats) -> tuple[float, float, float]:
    band = fitted.predict(rates, np.array([len(rates) - 1]))
    return float(band.losses[0]), float(band.low[0]), float(band.high[0])
