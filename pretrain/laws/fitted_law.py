"""A loss-curve law with what is known about it: what it was fitted to, and how far off it may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretrain.laws.curve_laws import Law
from pretrain.laws.curve_scores import Scores
from pretrain.laws.curves import Floats, Steps

QUANTILE = 1.645  # a band holds nine losses in ten if errors are normal
BAND_POINTS = 50  # places where the band is computed; between them a line


@dataclass(frozen=True, kw_only=True)
class CurveReport:
    """A curve that a law was fitted to, or that was left out of a fit and then predicted."""

    name: str
    first_step: int
    last_step: int
    points: int
    peak_lr: float
    mean_loss: float
    scores: Scores

    @property
    def relative_rmse(self) -> float:
        """Root mean square error as a share of the loss."""
        return self.scores.rmse / self.mean_loss


@dataclass(frozen=True, kw_only=True)
class Band:
    """Predicted losses, and between which two nine in ten should lie."""

    losses: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class FittedLaw:
    """A law of one model and batch size."""

    law: Law
    refits: tuple[Law, ...]  # the same fit to resampled residuals
    relative_error: float  # of a loss of a curve that it has not seen, where there were curves to leave out
    objective: float | None
    fitted: tuple[CurveReport, ...]
    left_out: tuple[CurveReport, ...]  # each predicted by a fit to the others
    batch_tokens: int | None  # of the curves' updates, where they say it
    notes: tuple[str, ...]

    def predict(self, rates: Floats, steps: Steps) -> Band:
        """The losses of a run at `steps`, ascending, from the rates of all its updates, update 0 first."""
        losses = self.law.losses(rates, steps)
        some = steps[np.unique(np.linspace(0, len(steps) - 1, BAND_POINTS).astype(np.int64))]
        spread = self._spread(rates, some)
        half = np.interp(steps, some, QUANTILE * np.hypot(spread, self.relative_error))
        return Band(losses=losses, low=losses * np.exp(-half), high=losses * np.exp(half))

    def _spread(self, rates: Floats, steps: Steps) -> Floats:
        """Standard deviation of the logarithm over the refits."""
        if not self.refits:
            return np.zeros(len(steps))
        logs = [np.log(np.maximum(law.losses(rates, steps), 1e-9)) for law in self.refits]
        return np.std(logs, axis=0)

    def outside(self, rates: Floats) -> list[str]:
        """What makes a prediction for a run with these rates an extrapolation."""
        if not self.fitted:
            return ["the law says nothing of what it was fitted to: no band, and no warning of extrapolation"]
        peaks = [curve.peak_lr for curve in self.fitted]
        longest, peak = max(curve.last_step for curve in self.fitted), float(rates.max())
        found = []
        if not 0.95 * min(peaks) <= peak <= 1.05 * max(peaks):
            known = " to ".join(f"{one:.4g}" for one in sorted({min(peaks), max(peaks)}))
            found.append(f"a peak rate of {peak:.4g} is outside what the law was fitted to ({known})")
        if len(rates) - 1 > 4 * longest:
            found.append(f"{len(rates) - 1} updates are more than 4 times the longest curve ({longest})")
        return found
