"""Constant: warm-up, then one learning rate for ever."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import PositiveReal
from megatron_lite.schedules.base import Schedule


class Constant(Schedule):
    """For comparisons, and for runs whose end is not known; with a decay it is `wsd`."""

    name: Literal["constant"] = Field("constant", description="which schedule")
    lr_max: PositiveReal = Field(description="the learning rate after warm-up (of the group with ratio 1)")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """The one value."""
        return self.lr_max
