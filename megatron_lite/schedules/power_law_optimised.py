"""Flat, then (1 - x)^1.5: the shape that minimises the loss which the Multi-Power Law predicts.

Luo et al. 2025, arXiv 2503.12811: schedules optimised under the law are flat for 88 to 90 % of the run and
then fall about so, to 0.4 % of the peak.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from megatron_lite.options import PositiveReal, Real
from megatron_lite.schedules.base import DecliningSchedule


class PowerLawOptimised(DecliningSchedule):
    """A fall at the end of a run whose length is known, without a decay of its own."""

    name: Literal["power_law_optimised"] = Field("power_law_optimised", description="which schedule")
    flat_share: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.89, description="share of the run at which the fall begins, or later where warm-up ends later"
    )
    exponent: PositiveReal = Field(1.5, description="c in (1 - x)^c, the shape of the fall")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """lr_max until the fall, lr_min where the body ends."""
        flat = max(self.warmup_tokens, self.flat_share * end_tokens)
        return self.between(math.pow(1 - self.fallen(tokens, flat, end_tokens), self.exponent))
