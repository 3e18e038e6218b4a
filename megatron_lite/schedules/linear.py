"""Linear: a straight line from the end of warm-up to the end of the run (D2Z, arXiv 2502.15938)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.schedules.base import DecliningSchedule
from megatron_lite.schedules.tails import linear


class Linear(DecliningSchedule):
    """A straight fall, to zero or to a floor."""

    name: Literal["linear"] = Field("linear", description="which schedule")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """A line from lr_max at N_w to lr_min at N - N_d."""
        return self.between(linear(self.fallen(tokens, self.warmup_tokens, end_tokens)))
