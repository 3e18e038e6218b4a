"""The global batch: its options, and what a learning rate asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from megatron_lite.options import Options, PositiveCount
from megatron_lite.schedules.batch_schedules import BatchScheduleOptions, ConstantSize


class BatchOptions(Options):
    """The global batch; learning rate and data order follow from it, never from the cluster."""

    sequences: PositiveCount = Field(
        description="sequences in the global batch; where it grows, in the first one"
    )
    sequence_length: PositiveCount = Field(4096, description="tokens in a sequence")
    micro_sequences: PositiveCount = Field(1, description="sequences per rank and forward pass")
    schedule: BatchScheduleOptions = Field(
        ConstantSize(),
        description="how it grows with tokens: constant, ramp, doubling, sqrt, linear_in_tokens, seesaw",
    )

    @property
    def tokens(self) -> int:
        """Tokens in the first global batch."""
        return self.sequences * self.sequence_length


class BatchSchedule(Protocol):
    """The global batch as a function of tokens seen."""

    def tokens_at(self, tokens: int) -> int:
        """Tokens in the batch that is trained after `tokens` have been seen."""


@dataclass(frozen=True, kw_only=True)
class ConstantBatch:
    """The same global batch throughout."""

    batch_tokens: int

    def tokens_at(self, tokens: int) -> int:
        """Tokens in the batch that is trained after `tokens` have been seen."""
        return self.batch_tokens
