"""Inverse square root: a fall without an end, at first slow (Zhai et al. 2021, arXiv 2106.04560).

    lr(n) = lr_max * sqrt(tau / (n - N_w + tau))

tau   timescale_tokens; where it is N_w, the rate is that of the Transformer's paper, lr_max * sqrt(N_w / n)
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from megatron_lite.options import PositiveCount, PositiveReal
from megatron_lite.schedules.base import Schedule


class InverseSqrt(Schedule):
    """A body that needs no length of the run; Zhai et al. end it with a linear decay to 0."""

    name: Literal["inverse_sqrt"] = Field("inverse_sqrt", description="which schedule")
    lr_max: PositiveReal = Field(
        description="learning rate at the end of warm-up (of the group with ratio 1)"
    )
    timescale_tokens: PositiveCount | None = Field(
        None, description="tau in sqrt(tau / (n - warm-up + tau)); absent: warmup_tokens"
    )

    def check(self, total_tokens: int) -> None:
        """There must be a timescale."""
        super().check(total_tokens)
        if not self._timescale:
            raise ValueError("timescale_tokens is missing, and warmup_tokens=0 cannot stand for it")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """The root of what the timescale is of the tokens since warm-up and itself."""
        return self.lr_max * math.sqrt(self._timescale / (tokens - self.warmup_tokens + self._timescale))

    @property
    def _timescale(self) -> int:
        return self.timescale_tokens or self.warmup_tokens
