"""WSD: warm-up, a plateau, a tail (MiniCPM, arXiv 2404.06395)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import PositiveReal
from megatron_lite.schedules.base import Schedule


class Wsd(Schedule):
    """A plateau whose height must be found anew for each batch and length (arXiv 2408.13359, eq. 2)."""

    name: Literal["wsd"] = Field("wsd", description="which schedule")
    lr_max: PositiveReal = Field(description="height of the plateau (of the group with ratio 1)")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """The plateau."""
        return self.lr_max
