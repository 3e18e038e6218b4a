"""Which updates are left out: those whose loss or gradient norm lies far above those accepted before.

With the mean and standard deviation over the last `window` accepted values x, an update is rejected where

    x > mean + sigmas * max(deviation, FLOOR)        x = loss, and x = log(gradient norm)

once the warm-up is over and the window is full (OLMo-core's SkipStepOptimizer: 6 deviations over 128
updates, of both values as they are). What is not a number is always rejected. A rejected value never enters
the window, so that a burst of spikes cannot make the next ones look usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pretrain.guard.options import SpikeOptions

Measure = Literal["loss", "log grad_norm"]
# A deviation counts as at least this: of values that hardly differ, a small change is no spike.
FLOOR: dict[Measure, float] = {"loss": 0.01, "log grad_norm": 0.05}
LEAST = 1e-30  # gradient norm that counts as one


@dataclass(frozen=True, kw_only=True)
class History:
    """What is remembered of a stage's updates."""

    losses: list[float] = field(default_factory=list)  # the last accepted, oldest first
    log_norms: list[float] = field(default_factory=list)
    skips: list[int] = field(default_factory=list)  # steps of the last updates that were left out


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Why an update was left out."""

    measure: str
    value: float
    centre: float | None = None  # None: it is not a number, beside which nothing else matters
    spread: float | None = None
    sigmas: float | None = None  # how many spreads lie between centre and value

    @property
    def finite(self) -> bool:
        """Whether it is a number."""
        return math.isfinite(self.value)

    def __str__(self) -> str:
        if self.sigmas is None:
            return f"{self.measure} is {self.value}"
        return (
            f"{self.measure} is {self.value:.4g}, {self.sigmas:.3g} deviations of {self.spread:.3g} "
            f"above {self.centre:.4g}"
        )


def not_a_number(loss: float, grad_norm: float) -> Rejected | None:
    """Why an update is left out whatever was before."""
    for name, value in (("loss", loss), ("grad_norm", grad_norm)):
        if not math.isfinite(value):
            return Rejected(measure=name, value=value)
    return None


def outlier(history: History, options: SpikeOptions, *, loss: float, grad_norm: float) -> Rejected | None:
    """Why an update is left out that lies far above those accepted before."""
    log_norm = math.log(max(grad_norm, LEAST))
    return _above("loss", loss, history.losses, options.window, options.loss_sigmas) or _above(
        "log grad_norm", log_norm, history.log_norms, options.window, options.norm_sigmas
    )


def _above(
    measure: Measure, value: float, accepted: Sequence[float], window: int, sigmas: float
) -> Rejected | None:
    recent = accepted[-window:]
    if len(recent) < window:
        return None
    centre = math.fsum(recent) / window
    deviation = math.sqrt(math.fsum((x - centre) ** 2 for x in recent) / (window - 1))
    spread = max(deviation, FLOOR[measure])
    away = (value - centre) / spread
    if away <= sigmas:
        return None
    return Rejected(measure=measure, value=value, centre=centre, spread=spread, sigmas=away)


def remember(
    history: History,
    options: SpikeOptions,
    *,
    step: int,
    loss: float,
    grad_norm: float,
    rejected: bool,
) -> History:
    """The history after update `step`."""
    skips = [skip for skip in history.skips if skip > step - options.window]
    if rejected:
        return replace(history, skips=[*skips, step])
    if grad_norm < LEAST:  # a batch that predicts nothing says nothing of the others
        return replace(history, skips=skips)
    return History(
        losses=[*history.losses, loss][-options.window :],
        log_norms=[*history.log_norms, math.log(grad_norm)][-options.window :],
        skips=skips,
    )


def lasting(history: History, options: SpikeOptions) -> bool:
    """Whether too many of the last updates were left out for it to pass."""
    return len(history.skips) > options.max_skips
