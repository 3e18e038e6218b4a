"""Step: a plateau with sudden falls at shares of the run, 8-1-1 by default (DeepSeek LLM, arXiv 2401.02954).

A share is the decimal number that was written, not the binary one nearest to it: the fall holds from the
first n >= share * N on, compared exactly. Where there is a decay, N is where it begins.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, field_validator

from megatron_lite.options import PositiveReal, Real
from megatron_lite.schedules.base import Schedule

InsideShare = Annotated[Real, Field(gt=0, lt=1)]


class Step(Schedule):
    """By default lr_max until 80 % of the run, lr_max / sqrt(10) until 90 %, lr_max / 10 to its end."""

    name: Literal["step"] = Field("step", description="which schedule")
    lr_max: PositiveReal = Field(
        description="learning rate before the first fall (of the group with ratio 1)"
    )
    at: tuple[InsideShare, ...] = Field(
        (0.8, 0.9), min_length=1, description="shares of the run at which the rate falls, ascending"
    )
    factor: Annotated[Real, Field(gt=0, le=1)] = Field(
        math.sqrt(0.1), description="what the rate is multiplied by at each fall"
    )

    @field_validator("at")
    @classmethod
    def _ascending(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(set(shares)):
            raise ValueError(f"should be strictly ascending, not {list(shares)}")
        return shares

    def check(self, total_tokens: int) -> None:
        """Warm-up must end before the first fall, or lr_max would never be reached."""
        super().check(total_tokens)
        if self._falls(self.warmup_tokens, total_tokens - self.decay_tokens):
            raise ValueError(
                f"warmup_tokens={self.warmup_tokens} must end before the first fall, at {self.at[0]} of "
                f"{total_tokens - self.decay_tokens} tokens"
            )

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """lr_max times the factor of every fall so far."""
        return self.lr_max * math.pow(self.factor, self._falls(tokens, end_tokens))

    def _falls(self, tokens: int, end_tokens: int) -> int:
        return sum(tokens >= Fraction(str(share)) * end_tokens for share in self.at)
