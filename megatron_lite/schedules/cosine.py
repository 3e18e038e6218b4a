"""Cosine: half a cosine from the end of warm-up to the end of the run (SGDR, arXiv 1608.03983)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.schedules.base import DecliningSchedule
from megatron_lite.schedules.tails import cosine


class Cosine(DecliningSchedule):
    """The baseline that must know the length of the run."""

    name: Literal["cosine"] = Field("cosine", description="which schedule")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """Half a cosine from lr_max at N_w to lr_min at N - N_d."""
        return self.between(cosine(self.fallen(tokens, self.warmup_tokens, end_tokens)))
