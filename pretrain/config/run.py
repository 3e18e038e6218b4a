"""Options of a run as a whole."""

from __future__ import annotations

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
        description="run, checkpoint or import whose weights it begins with; moments and tokens start at 0",
    )
    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="of weights and activations in the forward pass; master weights and sums are fp32"
    )
    engine: Literal["deepspeed", "torch"] = Field(
        "deepspeed",
        description="deepspeed (ZeRO), or torch: the plain replicated engine it is checked against",
    )
