"""A schedule: options that, bound once to a batch and a horizon, are a pure function of tokens.

n   tokens trained before the update, over all ranks and all earlier starts of the run
N   total_tokens, N_w warmup_tokens, N_d decay_tokens: as in arXiv 2408.13359, eq. 8
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from megatron_lite.options import Count, NonNegativeReal, Options, PositiveReal
from megatron_lite.schedules.batch import BatchSchedule
from megatron_lite.schedules.tails import TAILS, TailName

LearningRate = Callable[[int], float]


class Schedule(Options):
    """A body that each schedule gives, reached by a linear warm-up from 0."""

    name: str
    warmup_tokens: Count = Field(0, description="tokens of linear warm-up from 0")

    def bind(self, *, batch: BatchSchedule, total_tokens: int) -> LearningRate:
        """The learning rate as a function of n alone; ValueError where this horizon is impossible."""
        self.check(total_tokens)
        warm = self.body(self.warmup_tokens, batch.tokens_at(self.warmup_tokens), total_tokens)

        def lr(tokens: int) -> float:
            if tokens < self.warmup_tokens:
                return tokens / self.warmup_tokens * warm
            return self.body(tokens, batch.tokens_at(tokens), total_tokens)

        return lr

    def check(self, total_tokens: int) -> None:
        """Raises ValueError when the schedule makes no sense over `total_tokens`."""

    def body(self, tokens: int, batch_tokens: int, total_tokens: int) -> float:
        """The learning rate between warm-up and tail."""
        raise NotImplementedError


class TailedSchedule(Schedule):
    """A schedule whose last `decay_tokens` fall from the body's value to exactly 0."""

    decay_tokens: Count = Field(
        0, description="tokens of decay to 0 at the end of the run; 0: none, run on for ever"
    )
    decay: TailName = Field(
        "exponential", description="shape of the decay: exponential, linear, cosine or one_minus_sqrt"
    )

    def bind(self, *, batch: BatchSchedule, total_tokens: int) -> LearningRate:
        """As `Schedule.bind`; the tail keeps the batch, and so the beta, of its first token."""
        before = super().bind(batch=batch, total_tokens=total_tokens)
        if not self.decay_tokens:
            return before
        start = total_tokens - self.decay_tokens
        highest, tail = before(start), TAILS[self.decay]

        def lr(tokens: int) -> float:
            if tokens <= start:
                return before(tokens)
            return highest * tail(min(1.0, (tokens - start) / self.decay_tokens))

        return lr

    def check(self, total_tokens: int) -> None:
        """Warm-up and decay must both have room; they may touch."""
        if not self.decay_tokens:
            return
        if self.decay_tokens > total_tokens:
            raise ValueError(
                f"decay_tokens={self.decay_tokens} is longer than the run of {total_tokens} tokens"
            )
        if self.warmup_tokens > total_tokens - self.decay_tokens:
            raise ValueError(
                f"warmup_tokens={self.warmup_tokens} and decay_tokens={self.decay_tokens} overlap: "
                f"together they may have the run's {total_tokens} tokens"
            )


class DecliningSchedule(Schedule):
    """A schedule that falls from `lr_max` at the end of warm-up to `lr_min` at the end of the run."""

    lr_max: PositiveReal = Field(
        description="learning rate at the end of warm-up (of the group with ratio 1)"
    )
    lr_min: NonNegativeReal = Field(0.0, description="learning rate at the end of the run")

    def check(self, total_tokens: int) -> None:
        """There must be something to fall, and some of the run to fall over."""
        if self.lr_min > self.lr_max:
            raise ValueError(f"lr_min={self.lr_min} is above lr_max={self.lr_max}")
        if self.warmup_tokens >= total_tokens:
            raise ValueError(
                f"warmup_tokens={self.warmup_tokens} must be less than the run of {total_tokens} tokens, "
                f"whose rest {self.name} falls over"
            )

    def fallen(self, tokens: int, total_tokens: int) -> float:
        """The share of the fall that is behind: 0 at the end of warm-up, 1 at the end of the run."""
        return min(1.0, (tokens - self.warmup_tokens) / (total_tokens - self.warmup_tokens))
