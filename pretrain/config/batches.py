"""The global batch of a run at every token, of its past as well: what a learning rate is bound to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megatron_lite.schedules.batch_schedules import BatchScheduleOptions, ConstantSize, Seesaw
from megatron_lite.schedules.timeline import Segment

if TYPE_CHECKING:
    from pretrain.config.schema import Config
    from pretrain.data.options import Stage


@dataclass(frozen=True, kw_only=True)
class BatchSpan:
    """From some token on: how the batch follows from the tokens seen."""

    first_tokens: int
    sequence_length: int
    sequences: int  # of the first batch that `schedule` grows from
    schedule: BatchScheduleOptions

    def tokens_at(self, tokens: int) -> int:
        """Tokens in the batch that is trained after `tokens` have been seen."""
        assert not isinstance(self.schedule, Seesaw), "it follows a rate; its batches are spans of their own"
        return self.schedule.sequences_at(tokens, self.sequences) * self.sequence_length


@dataclass(frozen=True, kw_only=True)
class BatchOverTime:
    """The batch that is due at any number of tokens, between updates as well."""

    spans: tuple[BatchSpan, ...]

    def tokens_at(self, tokens: int) -> int:
        """Tokens in the batch that is trained after `tokens` have been seen."""
        index = bisect_right(self.spans, tokens, key=lambda span: span.first_tokens) - 1
        return self.spans[max(0, index)].tokens_at(tokens)


def spans_of(stage: Stage, config: Config, segments: Sequence[Segment]) -> Iterator[BatchSpan]:
    """The batch of a stage whose updates ahead are `segments`.

    A stage has its own batch, or that of the batch schedule; seesaw's is not a function of tokens alone, and
    is noted as it came out.
    """
    schedule, own = config.batch.schedule, stage.sequences
    follows_rate = own is None and isinstance(schedule, Seesaw)
    for segment in segments if follows_rate else segments[:1]:
        counts_tokens = own is None and not follows_rate
        yield BatchSpan(
            first_tokens=segment.first_tokens,
            sequence_length=segment.sequence_length,
            sequences=config.batch.sequences if counts_tokens else segment.sequences,
            schedule=schedule if counts_tokens else ConstantSize(),
        )
