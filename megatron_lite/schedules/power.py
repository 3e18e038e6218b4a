"""Power: a learning rate that follows tokens seen and batch size, and needs no length of the run.

Shen et al. 2024, arXiv 2408.13359, eq. 7 and 8:

    lr_power(n) = min(lr_max, beta * amplitude * n ** exponent)

n     tokens trained before the update
beta  global batch in sequences of REFERENCE_SEQUENCE_TOKENS tokens, whatever our own sequence length
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from megatron_lite.options import PositiveReal, Real
from megatron_lite.schedules.base import Schedule

REFERENCE_SEQUENCE_TOKENS = 4096  # the fit of `amplitude` counts the batch in sequences of this length


class Power(Schedule):
    """The paper's schedule: warm-up, power law under a cap, and a tail where one is asked for."""

    follows_batch: ClassVar[bool] = True

    name: Literal["power"] = Field("power", description="which schedule")
    lr_max: PositiveReal = Field(0.02, description="cap of the learning rate (of the group with ratio 1)")
    # Section 5 of the paper; the WSD fit before it (eq. 5) gave 4.6 and the same exponent.
    amplitude: PositiveReal = Field(
        4.0, description="a in min(lr_max, beta a n^b), beta in sequences of 4096 tokens"
    )
    exponent: Annotated[Real, Field(le=0)] = Field(-0.51, description="b in min(lr_max, beta a n^b)")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """Eq. 7."""
        if tokens == 0:  # 0 to a negative power is infinite, so the cap holds
            return self.lr_max
        beta = batch_tokens / REFERENCE_SEQUENCE_TOKENS
        return min(self.lr_max, beta * self.amplitude * math.pow(tokens, self.exponent))
