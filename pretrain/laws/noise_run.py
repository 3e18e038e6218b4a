"""The gradient noise scale along a run, from estimates of single updates: a ratio of means by window.

One update's estimates are unbiased but far from exact, and either may be negative: over every window both are
averaged first and divided then. The interval leaves out one update after the other (jackknife) in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pretrain.errors import UserError
from pretrain.laws.critical_batch import Growth, growth
from pretrain.laws.regression import Interval
from pretrain.laws.table import Array

WINDOWS = 8
LEAST = 8  # updates of a window, below which an interval means nothing


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive measured updates: B_simple = tr(Sigma) / |G|^2 in tokens, None where no ratio is."""

    first_tokens: float
    last_tokens: float
    mean_tokens: float
    updates: int
    grad_sq: float
    noise_trace: float
    batch: float | None
    interval: Interval | None  # 95 %


@dataclass(frozen=True, kw_only=True)
class NoiseRun:
    """B_simple along a run, and its growth with tokens where three windows or more have one."""

    windows: tuple[Window, ...]
    growth: Growth | None
    notes: tuple[str, ...]


def noise_run(
    tokens: Sequence[float], grad_sq: Sequence[float], noise_trace: Sequence[float], windows: int = WINDOWS
) -> NoiseRun:
    """The windows, equal in updates, of a run's measured updates."""
    n, signal, noise = (np.asarray(one, float) for one in (tokens, grad_sq, noise_trace))
    good = np.isfinite(n) & np.isfinite(signal) & np.isfinite(noise)
    if not good.any():
        raise UserError("no update with a measured noise scale; train with trackers.noise_scale_every set")
    count = max(1, min(windows, int(good.sum()) // LEAST))
    order = np.flatnonzero(good)[np.argsort(n[good], kind="stable")]
    found = tuple(_window(n[part], signal[part], noise[part]) for part in np.array_split(order, count))
    known = [(one.mean_tokens, one.batch) for one in found if one.batch is not None]
    notes = [] if good.sum() >= LEAST else [f"{int(good.sum())} measured updates: no interval"]
    if len(known) < len(found):
        notes.append(
            f"in {len(found) - len(known)} of {len(found)} windows noise hides the gradient: "
            "measure more often"
        )
    return NoiseRun(
        windows=found,
        growth=growth(*zip(*known, strict=True)) if len(known) > 2 else None,
        notes=tuple(notes),
    )


def _window(tokens: Array, signal: Array, noise: Array) -> Window:
    above = float(signal.mean())
    return Window(
        first_tokens=float(tokens[0]),
        last_tokens=float(tokens[-1]),
        mean_tokens=float(tokens.mean()),
        updates=tokens.size,
        grad_sq=above,
        noise_trace=float(noise.mean()),
        batch=float(noise.mean() / above) if above > 0 < noise.mean() else None,
        interval=_interval(signal, noise) if tokens.size >= LEAST else None,
    )


def _interval(signal: Array, noise: Array) -> Interval | None:
    """By the jackknife; None where some update alone decides whether there is an answer."""
    size = signal.size
    above, below = (signal.sum() - signal), (noise.sum() - noise)
    if above.min() <= 0 or below.min() <= 0:
        return None
    logs = np.log(below / above)
    error = np.sqrt((size - 1) / size * np.sum((logs - logs.mean()) ** 2))
    reach = stats.t.ppf(0.975, size - 1) * error
    middle = np.log(noise.mean() / signal.mean())
    return float(np.exp(middle - reach)), float(np.exp(middle + reach))
