"""Optimizer groups: the parameters that share a learning-rate ratio and a weight decay, by name."""

from __future__ import annotations

from dataclasses import dataclass

from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import rule

ROLES_OF_GROUP = {
    "embedding": (Role.EMBEDDING,),
    "head": (Role.HEAD,),
    "norm": (Role.NORM,),
    "hidden": (Role.HIDDEN, Role.OUTPUT),  # they differ in init only
    "router": (Role.ROUTER,),
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters, by name, that are updated with the same ratio and decay."""

    name: str
    lr_ratio: float  # times the schedule's learning rate
    weight_decay: float
    parameters: tuple[str, ...]


def groups(shape: ModelShape, mup: MupOptions, weight_decay: float) -> tuple[Group, ...]:
    """The groups of a model of this shape: none is empty, every parameter is in exactly one."""
    members = {
        name: tuple(parameter.name for parameter in parameters(shape) if parameter.role in roles)
        for name, roles in ROLES_OF_GROUP.items()
    }
    rules = {
        name: rule(roles[0], mup=mup, shape=shape, weight_decay=weight_decay)
        for name, roles in ROLES_OF_GROUP.items()
    }
    return tuple(
        Group(
            name=name,
            lr_ratio=rules[name].lr_ratio,
            weight_decay=rules[name].weight_decay,
            parameters=members[name],
        )
        for name in ROLES_OF_GROUP
        if members[name]  # engines drop empty groups, and then every index is off by one
    )
