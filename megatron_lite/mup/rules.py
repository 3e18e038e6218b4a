"""How init, learning rate and weight decay of a role follow from the width (arXiv 2408.13359, table 1).

    m = hidden_size / base_width            L = layers

    role         init std                   lr ratio   weight decay
    embedding    init_std                   1          λ
    head         init_std                   1          λ
    norm         (ones)                     1          0
    hidden       init_std / sqrt(m)         1/m        λ (scaled: λm)
    output       init_std / sqrt(m · 2L)    1/m        λ (scaled: λm)
    router       as hidden, or as an output of µP: init_std / m, 1/m

Not in the paper's table but in the authors' code and released models: 1/sqrt(2L) on the last matrix of a
residual branch, and the router treated as a hidden matrix. As the number of experts does not grow, µP itself
would make the router an output, whose init falls as 1/fan_in: `mup.router: output`.
The multipliers of the forward pass are architecture and stand in `ModelShape`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role

MATRICES_BY_WIDTH = (Role.HIDDEN, Role.OUTPUT, Role.ROUTER)  # their fan-in grows with the width


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Init, learning rate and decay of one parameter."""

    init_std: float | None  # None: ones
    lr_ratio: float  # times the schedule's learning rate
    weight_decay: float


def rule(role: Role, *, mup: MupOptions, shape: ModelShape, weight_decay: float) -> Rule:
    """The rule for `role` in a model of this shape."""
    if role is Role.NORM:
        return Rule(init_std=None, lr_ratio=1.0, weight_decay=0.0)
    width_ratio = shape.hidden_size / mup.base_width if mup.enabled else 1.0
    grows = role in MATRICES_BY_WIDTH
    scaled = grows and mup.weight_decay_rule == "scaled"
    return Rule(
        init_std=mup.init_std / _init_divisor(role, width_ratio, mup, shape),
        lr_ratio=1 / width_ratio if grows else 1.0,
        weight_decay=weight_decay * width_ratio if scaled else weight_decay,
    )


def _init_divisor(role: Role, width_ratio: float, mup: MupOptions, shape: ModelShape) -> float:
    """How much smaller than `init_std` the weights of `role` start."""
    if role is Role.OUTPUT:
        return math.sqrt(width_ratio * 2 * shape.num_layers)
    if role is Role.ROUTER and mup.router == "output":
        return width_ratio
    return math.sqrt(width_ratio) if role in MATRICES_BY_WIDTH else 1.0
