"""What one rank holds of a parameter under DeepSpeed, as it is, for every ZeRO stage."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor

from pretrain.engine.base import Part
from pretrain.engine.parts import own_part


def local_part(stage: int, parameter: Any, kind: Part) -> Tensor | None:
    """This rank's part of the fp32 weight, or of the gradient before the update; None: it has none."""
    from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_grad

    if stage == 0:
        whole = parameter.detach() if kind == "weight" else parameter.grad
        return None if whole is None else own_part(whole)
    if stage == 3:
        part = safe_get_local_fp32_param(parameter) if kind == "weight" else safe_get_local_grad(parameter)
        behind = parameter.ds_numel - dist.get_rank() * part.numel()
        return part.detach().flatten()[: max(0, behind)]  # parts are of one size, the last ones filled up
    fragment = parameter._hp_mapping
    if fragment is None:
        return None
    if kind == "weight":
        return fragment.get_hp_fragment().detach().flatten()
    gradient = fragment.get_lp_grad_fragment(parameter._index_in_param_group).detach().flatten()
    address = fragment.lp_fragment_address
    # in bf16 the whole sum is kept beside the part of this rank
    return gradient if gradient.numel() == address.numel else gradient[address.start :][: address.numel]
