"""AdamW over named groups (arXiv 1711.05101): torch's, told before each update what it is made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from megatron_lite.mup.groups import Group
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.optim.second_moment import SecondMoment

FUSED_DEVICES = ("cpu", "cuda")


def adamw(options: AdamWOptions, groups: Sequence[Group], tensors: Mapping[str, Tensor]) -> torch.optim.AdamW:
    """torch's AdamW over these tensors; each of its groups carries the name and ratio of ours.

    The learning rate is 0 until `set_rates` sets it, before each update.
    """
    torch_groups = [
        {
            "name": group.name,
            "lr_ratio": group.lr_ratio,
            "weight_decay": group.weight_decay,
            "lr": 0.0,
            # what the group's own values are rescaled from, and by what they now are
            "plain_weight_decay": group.weight_decay,
            "plain_eps": options.eps,
            "scale": 1.0,
            "params": [tensors[name] for name in group.parameters],
        }
        for group in groups
    ]
    fused = all(tensors[name].device.type in FUSED_DEVICES for group in groups for name in group.parameters)
    return torch.optim.AdamW(torch_groups, lr=0.0, betas=options.betas, eps=options.eps, fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, lr: float, second_moment: SecondMoment | None = None) -> None:
    """Make every group's next update one at `lr` times its ratio, and with this second moment if any."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_ratio"]
        if second_moment is not None:
            _correct(group, second_moment)


def _correct(group: dict[str, Any], second_moment: SecondMoment) -> None:
    """Make up for torch's bias correction, which takes beta2 to be constant (see second_moment.py)."""
    group["betas"] = (group["betas"][0], second_moment.beta2)
    group["scale"] = second_moment.scale
    group["lr"] /= second_moment.scale
    group["eps"] = group["plain_eps"] / second_moment.scale
    group["weight_decay"] = group["plain_weight_decay"] * second_moment.scale


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate that each group is really at, by its name."""
    return {group["name"]: group["lr"] * group["scale"] for group in optimizer.param_groups}


def built_group(group: Mapping[str, Any], names: Sequence[str]) -> Group:
    """An optimizer's group with its real values, as the audit compares it."""
    return Group(
        name=group["name"],
        lr_ratio=group["lr_ratio"],
        weight_decay=group["weight_decay"] / group["scale"],
        parameters=tuple(names),
    )
