"""A schedule: options that, bound once to a batch and a horizon, are a pure function of tokens.

n   tokens trained before the update, over all ranks and all earlier starts of the run
N   total_tokens, N_w warmup_tokens, N_d decay_tokens: as in arXiv 2408.13359, eq. 8

Every schedule is a linear warm-up, a body of its own from N_w to N - N_d, and a tail where one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from megatron_lite.options import Count, NonNegativeReal, Options, PositiveReal, Share
from megatron_lite.schedules.batch import BatchSchedule
from megatron_lite.schedules.tails import TailName, share_left

LearningRate = Callable[[int], float]


class Schedule(Options):
    """A body that each schedule gives, between a linear warm-up from 0 and a decay at the end of the run."""

    follows_batch: ClassVar[bool] = False  # whether `body` uses `batch_tokens`

    name: str
    plugin: str | None = Field(
        None, description="Python file that registers this schedule, if it is one of your own"
    )
    warmup_tokens: Count = Field(0, description="tokens of linear warm-up from 0")
    decay_tokens: Count = Field(
        0, description="tokens of decay at the end of the run; 0: none, run on for ever"
    )
    decay: TailName = Field(
        "exponential",
        description="shape of the decay: exponential, linear, cosine, one_minus_sqrt, square, "
        "mirror_cosine, power_1_5, geometric",
    )
    decay_to: Share = Field(0.0, description="share of the rate before the decay that it ends at")

    def bind(self, *, batch: BatchSchedule, total_tokens: int) -> LearningRate:
        """The learning rate as a function of n alone; ValueError where this horizon is impossible.

        The tail keeps the batch, and so the beta, of its first token.
        """
        self.check(total_tokens)
        before = self._rising(batch, total_tokens - self.decay_tokens)
        if not self.decay_tokens:
            return before
        start = total_tokens - self.decay_tokens
        highest = before(start)

        def lr(tokens: int) -> float:
            if tokens <= start:
                return before(tokens)
            x = min(1.0, (tokens - start) / self.decay_tokens)
            return highest * share_left(self.decay, x, self.decay_to)

        return lr

    def _rising(self, batch: BatchSchedule, end_tokens: int) -> LearningRate:
        """Warm-up and body."""
        warm = self.body(self.warmup_tokens, batch.tokens_at(self.warmup_tokens), end_tokens)

        def lr(tokens: int) -> float:
            if tokens < self.warmup_tokens:
                return tokens / self.warmup_tokens * warm
            return self.body(tokens, batch.tokens_at(tokens), end_tokens)

        return lr

    def check(self, total_tokens: int) -> None:
        """Raises ValueError when the schedule makes no sense over `total_tokens`.

        Warm-up and decay must both have room; they may touch.
        """
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
        if self.decay == "geometric" and not self.decay_to:
            raise ValueError(
                "decay=geometric never reaches decay_to=0; say where it ends, such as decay_to=0.01"
            )

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """The learning rate between warm-up and tail; `end_tokens` is N - N_d, where the body ends."""
        raise NotImplementedError


class DecliningSchedule(Schedule):
    """A schedule that falls from `lr_max` after warm-up to `lr_min` where the body ends."""

    lr_max: PositiveReal = Field(
        description="learning rate at the end of warm-up (of the group with ratio 1)"
    )
    lr_min: NonNegativeReal = Field(
        0.0, description="learning rate at the end of the run, or where its decay begins"
    )

    def check(self, total_tokens: int) -> None:
        """There must be something to fall, and some of the run to fall over."""
        super().check(total_tokens)
        if self.lr_min > self.lr_max:
            raise ValueError(f"lr_min={self.lr_min} is above lr_max={self.lr_max}")
        if self.decay_tokens and not self.lr_min:
            raise ValueError(
                f"{self.name} falls to lr_min=0 before the decay of decay_tokens={self.decay_tokens}, "
                "which would train at 0; leave the decay out, or raise lr_min"
            )
        if self.warmup_tokens >= total_tokens - self.decay_tokens:
            less = f" less decay_tokens={self.decay_tokens}" if self.decay_tokens else ""
            raise ValueError(
                f"warmup_tokens={self.warmup_tokens} must be less than the run of {total_tokens} tokens"
                f"{less}, whose rest {self.name} falls over"
            )

    def fallen(self, tokens: int, start_tokens: float, end_tokens: int) -> float:
        """The share of a fall that is behind: 0 until `start_tokens`, 1 from `end_tokens` on."""
        return min(1.0, max(0.0, (tokens - start_tokens) / (end_tokens - start_tokens)))

    def between(self, left: float) -> float:
        """lr_max where all of the fall is `left`, lr_min where nothing is; exact at both."""
        return min(self.lr_max, left * self.lr_max + (1 - left) * self.lr_min)
