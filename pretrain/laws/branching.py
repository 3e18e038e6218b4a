"""The largest batch that loses nothing, from short branches off a checkpoint, and its use in a warm-up.

Merrill et al. 2025, arXiv 2505.23971: branch to k times the batch with the rate times sqrt(k), train all
branches for the same tokens, smooth their losses; the critical batch is the largest k whose loss, and that of
every smaller one's, stays within a tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pretrain.errors import UserError
from pretrain.laws.table import Array

TOLERANCE = 0.01  # nats
SMOOTHING = 0.5


@dataclass(frozen=True, kw_only=True)
class Branching:
    """The critical batch at one checkpoint, and whether larger ones might do as well."""

    batch: float
    at_least: bool  # every batch tried holds: the critical one lies at or beyond the largest
    at_most: bool  # only the smallest holds, and what it would be compared with was not tried


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a run at one batch."""

    start_tokens: float
    end_tokens: float
    batch: float
    lr_factor: float  # against the run's first batch

    @property
    def updates(self) -> float:
        """Tokens over batch; in the unit of `batch` if that is not tokens."""
        return (self.end_tokens - self.start_tokens) / self.batch


def smooth(losses: ArrayLike, share: float = SMOOTHING) -> Array:
    """Exponential average along the last axis; `share` is how much of it stays from value to value."""
    values = np.array(losses, float)
    for i in range(1, values.shape[-1]):
        values[..., i] = share * values[..., i - 1] + (1 - share) * values[..., i]
    return values


def critical_branch(
    batches: Sequence[float], losses: Sequence[float], tolerance: float = TOLERANCE
) -> Branching:
    """The largest batch whose loss is at most `tolerance` above that of every smaller one."""
    if len(batches) < 2 or len(set(batches)) < len(batches):
        raise UserError(
            f"branches need two different batches at least, one loss each; they are {list(batches)}"
        )
    order = np.argsort(batches)
    sizes, values = np.asarray(batches, float)[order], np.asarray(losses, float)[order]
    values = np.where(np.isfinite(values), values, np.inf)  # a branch that diverged recovers nothing
    if np.isinf(values[0]):
        raise UserError(f"the branch at the smallest batch, {sizes[0]:g}, has no loss to compare with")
    least = np.minimum.accumulate(values)
    held = 0
    while held + 1 < sizes.size and values[held + 1] <= least[held] + tolerance:
        held += 1
    return Branching(batch=float(sizes[held]), at_least=held == sizes.size - 1, at_most=held == 0)


def warm_up(
    tokens: Sequence[float], critical: Sequence[float], start_batch: float, end_tokens: float
) -> tuple[Phase, ...]:
    """Double the batch, the rate times sqrt(2), as soon as the measured critical batch is twice it."""
    order = np.argsort(tokens)
    phases: list[Phase] = []
    start, batch = 0.0, start_batch
    for at, limit in ((float(tokens[i]), float(critical[i])) for i in order):
        while limit >= 2 * batch and at < end_tokens:
            if at > start:
                phases.append(_phase(start, at, batch, start_batch))
            start, batch = at, 2 * batch
    phases.append(_phase(start, end_tokens, batch, start_batch))
    return tuple(phases)


def updates(phases: Sequence[Phase]) -> float:
    """Of a whole run."""
    return sum(phase.updates for phase in phases)


def saving(phases: Sequence[Phase], batch: float) -> float:
    """Share of updates saved against one batch throughout."""
    fixed = (phases[-1].end_tokens - phases[0].start_tokens) / batch
    return 1 - updates(phases) / fixed


def describe(phases: Sequence[Phase]) -> Iterator[str]:
    """One sentence a phase."""
    for phase in phases:
        yield (
            f"{phase.start_tokens:.4g} to {phase.end_tokens:.4g} tokens: batch {phase.batch:g}, "
            f"rate times {phase.lr_factor:.4g}"
        )


def _phase(start: float, end: float, batch: float, first: float) -> Phase:
    return Phase(start_tokens=start, end_tokens=end, batch=batch, lr_factor=float(np.sqrt(batch / first)))
