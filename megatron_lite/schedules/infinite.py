"""Infinite: a cosine cool-down to a constant that lasts as long as wanted.

Singh et al. 2025, arXiv 2503.02844, eq. 1:

    N_w <= n < N_w + N_c    lr_constant + (lr_max - lr_constant) (1 + cos(pi (n - N_w) / N_c)) / 2
    from there on           lr_constant
    the decay, if any       lr_constant (lr_min / lr_constant)^x: geometric, decay_to = lr_min / lr_constant

As printed, the decay divides by the anneal's step plus the step at which it begins, and so would reach lr_min
that much too late. Here the former is read as the step of its end: x is 1 where the run ends.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import PositiveCount, PositiveReal
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.tails import TailName, cosine


class Infinite(Schedule):
    """A constant rate to branch decays from, below that which training begins with."""

    name: Literal["infinite"] = Field("infinite", description="which schedule")
    lr_max: PositiveReal = Field(
        description="learning rate at the end of warm-up (of the group with ratio 1)"
    )
    lr_constant: PositiveReal = Field(description="learning rate from the end of the cool-down on")
    cooldown_tokens: PositiveCount = Field(
        description="tokens of half a cosine from lr_max to lr_constant, after warm-up"
    )
    decay: TailName = Field("geometric", description=Schedule.model_fields["decay"].description)

    def check(self, total_tokens: int) -> None:
        """The cool-down may only go down."""
        super().check(total_tokens)
        if self.lr_constant > self.lr_max:
            raise ValueError(f"lr_constant={self.lr_constant} is above lr_max={self.lr_max}")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """Cool-down, then the constant; a decay that begins before falls from where the cool-down is."""
        left = cosine(min(1.0, (tokens - self.warmup_tokens) / self.cooldown_tokens))
        return min(self.lr_max, left * self.lr_max + (1 - left) * self.lr_constant)
