"""How well predicted losses match: the five numbers that loss-curve laws are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from pretrain.laws.curves import Floats


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one curve, or the mean over several."""

    r2: float | None  # of the loss; None where all losses are equal
    mae: float
    rmse: float
    pred_e: float  # mean relative error
    worst_e: float  # largest relative error


def score(predicted: Floats, losses: Floats) -> Scores:
    """Predictions against what was measured."""
    errors = predicted - losses
    spread = float(((losses - losses.mean()) ** 2).sum())
    relative = np.abs(errors) / losses
    return Scores(
        r2=1 - float((errors**2).sum()) / spread if spread > 0 else None,
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt((errors**2).mean())),
        pred_e=float(relative.mean()),
        worst_e=float(relative.max()),
    )


def mean_score(scores: Sequence[Scores]) -> Scores:
    """The plain mean over curves, each counting once however many points it has."""
    known = [one.r2 for one in scores if one.r2 is not None]
    rest = np.mean([astuple(one)[1:] for one in scores], axis=0)
    mae, rmse, pred_e, worst_e = map(float, rest)
    return Scores(
        r2=float(np.mean(known)) if known else None, mae=mae, rmse=rmse, pred_e=pred_e, worst_e=worst_e
    )
