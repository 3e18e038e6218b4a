"""Where a run stands: everything about it that is not a tensor of the model or the optimizer."""

from __future__ import annotations

from dataclasses import dataclass, field

from pretrain.guard.spikes import History


@dataclass(frozen=True, kw_only=True)
class Position:
    """The state of a run beside its tensors. Nothing here depends on the number of ranks."""

    step: int = 0  # updates made, those that were left out included
    tokens: int = 0  # consumed by those updates, over all ranks
    sequence: int = 0  # where the timeline stands in the run's order
    expert_counts: list[list[int]] | None = (
        None  # [layers][experts], tokens sent in the last update (a MoE's)
    )
    skipped_updates: int = 0  # left out: neither weights nor moments saw them
    skipped_tokens: int = 0  # in their batches
    jumps: list[list[int]] = field(default_factory=list)  # [sequence, number left out before it], by rewinds
    rewinds: int = 0
    history: History = field(default_factory=History)  # what the rule about spikes compares with

    def __post_init__(self) -> None:
        if isinstance(self.history, dict):  # as it stands in a checkpoint
            object.__setattr__(self, "history", History(**self.history))

    @property
    def updates(self) -> int:
        """Updates that were applied, as AdamW counts its steps."""
        return self.step - self.skipped_updates

    @property
    def skipped_sequences(self) -> int:
        """How far what is read is ahead of the timeline after rewinds."""
        return sum(count for _, count in self.jumps)
