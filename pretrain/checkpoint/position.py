"""Where a run stands: everything about it that is not a tensor of the model or the optimizer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Position:
    """The state of a run beside its tensors. Nothing here depends on the number of ranks."""

    step: int = 0  # updates made
    tokens: int = 0  # consumed by those updates, over all ranks
    sequence: int = 0  # the next sequence of the run's order
    expert_counts: list[list[int]] | None = (
        None  # [layers][experts], tokens sent in the last update (a MoE's)
    )
