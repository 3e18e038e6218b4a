"""What is the same at every width of a check, and how init and learning rate follow from the width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.tokens import Batch
from megatron_lite.mup.groups import Group, groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule, rule
from megatron_lite.optim.options import AdamWOptions


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a decoder of any width is trained for a few updates."""

    batch: Batch  # of every update and every measurement
    num_updates: int
    lr: float  # of every update, times the ratio of the group
    optimizer: AdamWOptions
    balance_coefficient: float = 0.0  # the balance loss counts over the batch
    z_coefficient: float = 0.0
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Parametrisation:
    """Init and learning rate as functions of the shape: those of training, or others to be examined."""

    rule: Callable[[Role, ModelShape], Rule]
    groups: Callable[[ModelShape], Sequence[Group]]


def parametrisation(mup: MupOptions, weight_decay: float) -> Parametrisation:
    """The rules and groups of training."""
    return Parametrisation(
        rule=lambda role, shape: rule(role, mup=mup, shape=shape, weight_decay=weight_decay),
        groups=lambda shape: groups(shape, mup, weight_decay),
    )
