"""Options of the optimizers, chosen by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from megatron_lite.options import Count, NonNegativeReal, Options, PositiveReal, Real

LONGEST_HALF_LIFE = 10**15  # beyond it the beta2 of a small batch rounds to 1
Beta = Annotated[Real, Field(ge=0, lt=1)]


class Beta2Options(Options):
    """A second moment that decays by tokens, so that its averaging window outlives a change of the batch."""

    half_life_tokens: Annotated[Count, Field(gt=0, le=LONGEST_HALF_LIFE)] = Field(
        description="tokens after which a gradient counts half as much in the second moment"
    )


class AdamWOptions(Options):
    """AdamW with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"] = Field("adamw", description="the optimizer: adamw")
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.95), description="decay of the first and second moment, per update"
    )
    adam_beta2: Beta2Options | None = Field(
        None, description="decay of the second moment by tokens; betas[1] is then unused; null: by updates"
    )
    eps: PositiveReal = Field(1e-10, description="added to the root of the second moment")
    weight_decay: NonNegativeReal = Field(0.1, description="decay per update is lr x this, norms excepted")
    clip: PositiveReal | None = Field(1.0, description="largest global gradient norm; null: no clipping")
