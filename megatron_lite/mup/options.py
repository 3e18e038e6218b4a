"""Options of the maximal update parametrisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import Options, PositiveCount, PositiveReal


class MupOptions(Options):
    """How init, learning rate and weight decay follow the width (arXiv 2408.13359, table 1)."""

    enabled: bool = Field(True, description="false: standard parametrisation, one LR, multipliers 1")
    base_width: PositiveCount = Field(256, description="the width at which every ratio is 1")
    init_std: PositiveReal = Field(
        0.1, description="std of the embedding, and of hidden matrices at base_width"
    )
    weight_decay_rule: Literal["constant", "scaled"] = Field(
        "constant",
        description="constant: one for all; scaled: times the width ratio in hidden groups (same lr*decay)",
    )
    router: Literal["hidden", "output"] = Field(
        "hidden", description="init and LR of the router: as a hidden matrix (the authors), or as an output"
    )
