"""AdamW over named groups (arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from megatron_lite.mup.groups import Group
from megatron_lite.optim.options import AdamWOptions

FUSED_DEVICES = ("cpu", "cuda")


def adamw(options: AdamWOptions, groups: Sequence[Group], tensors: Mapping[str, Tensor]) -> torch.optim.AdamW:
    """torch's AdamW over these tensors; each of its groups carries the name and ratio of ours.

    The learning rate is 0 until it is set, before each update: the schedule's times the group's `lr_ratio`.
    """
    torch_groups = [
        {
            "name": group.name,
            "lr_ratio": group.lr_ratio,
            "weight_decay": group.weight_decay,
            "lr": 0.0,
            "params": [tensors[name] for name in group.parameters],
        }
        for group in groups
    ]
    fused = all(tensors[name].device.type in FUSED_DEVICES for group in groups for name in group.parameters)
    return torch.optim.AdamW(torch_groups, lr=0.0, betas=options.betas, eps=options.eps, fused=fused)
