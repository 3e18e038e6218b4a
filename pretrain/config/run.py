"""Options of a run as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from megatron_lite.options import Count, Options


class RunOptions(Options):
    """What the run is called, where it lives and in which precision it computes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the run folder is root/name")
    seed: Count = Field(0, description="of initial weights and data order")
    root: str = Field("runs", description="folder that holds run folders")
    init_from: str | None = Field(
        None,
        description="run, checkpoint or import whose weights it begins with; moments start at 0",
    )
    init_tokens: Count = Field(
        0, description="tokens that the weights of init_from count as trained on: the schedule begins there"
    )
    branch_from: str | None = Field(
        None,
        description="run or checkpoint that it goes on from, tokens and moments kept: its stages come after "
        "what is trained, or describe the whole run if the first has the name of the first there",
    )
    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="of weights and activations in the forward pass; master weights and sums are fp32"
    )
    engine: Literal["deepspeed", "torch"] = Field(
        "deepspeed",
        description="deepspeed (ZeRO), or torch: the plain replicated engine it is checked against",
    )
    debug: bool = Field(
        False, description="assert at every update that the optimizer's groups are as rules and schedule say"
    )

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.root) / self.name
