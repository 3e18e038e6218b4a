"""Initial weights: each a function of the seed and the parameter's name alone.

So they do not depend on the order of the modules, on the ranks, or on what else draws random numbers.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from megatron_lite.model.parameters import Parameter
from megatron_lite.mup.rules import Rule


def initial_weight(parameter: Parameter, rule: Rule, seed: int) -> Tensor:
    """Normal with the rule's std, or ones; fp32 on the host whatever the run trains in and on."""
    weight = torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
    if rule.init_std is None:
        return weight.fill_(1.0)
    return weight.normal_(0.0, rule.init_std, generator=_generator(seed, parameter.name))


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
