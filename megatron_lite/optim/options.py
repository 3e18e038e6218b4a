"""Options of the optimizers, chosen by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from megatron_lite.options import NonNegativeReal, Options, PositiveReal, Real

Beta = Annotated[Real, Field(ge=0, lt=1)]


class AdamWOptions(Options):
    """AdamW with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"] = Field("adamw", description="the optimizer: adamw")
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.95), description="decay of the first and second moment, per update"
    )
    eps: PositiveReal = Field(1e-10, description="added to the root of the second moment")
    weight_decay: NonNegativeReal = Field(0.1, description="decay per update is lr x this, norms excepted")
    clip: PositiveReal | None = Field(1.0, description="largest global gradient norm; null: no clipping")
