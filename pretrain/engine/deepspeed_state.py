"""The canonical training state in and out of DeepSpeed's shards, for every ZeRO stage.

DeepSpeed's public accessors reach the fp32 master copy and the moments of one parameter. Three things are
left to us: optimizer state must exist and be linked before it can be reached, the working weights must
follow the master copy, and AdamW counts its steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.engine.base import Kind


def create_optimizer_state(engine: Any, updates: int) -> None:
    """Zero moments and `updates` steps for every tensor that the inner optimizer updates."""
    inner = engine.basic_optimizer
    for tensor in optimized_tensors(engine):
        inner.state[tensor] = {
            "step": torch.tensor(float(updates), device=tensor.device),  # fused AdamW reads it there
            "exp_avg": torch.zeros_like(tensor),
            "exp_avg_sq": torch.zeros_like(tensor),
        }
    if engine.zero_optimization_stage() in (1, 2):
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def optimized_tensors(engine: Any) -> list[Tensor]:
    """This rank's part of the fp32 weights, as the inner optimizer holds them."""
    if engine.zero_optimization_stage() == 3:
        return list(engine.optimizer.fp32_partitioned_groups_flat)
    return [tensor for group in engine.basic_optimizer.param_groups for tensor in group["params"]]


def gathered(engine: Any, parameters: Iterable[nn.Parameter]) -> AbstractContextManager[Any]:
    """Inside, every rank holds the whole working weights, only to be read. Collective at both ends."""
    from deepspeed.runtime.zero.partition_parameters import GatheredParameters

    return GatheredParameters(parameters) if engine.zero_optimization_stage() == 3 else nullcontext()


def read_tensor(engine: Any, parameter: nn.Parameter, kind: Kind) -> Tensor:
    """The whole fp32 weight or moment of one parameter, where it is. Collective."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if engine.zero_optimization_stage() == 0:
        full = parameter.detach() if kind == "weight" else engine.basic_optimizer.state[parameter][kind]
    elif kind == "weight":
        full = safe_get_full_fp32_param(parameter)
    else:
        full = safe_get_full_optimizer_state(parameter, kind)
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return full.detach().reshape(shape).float()


def write_tensor(engine: Any, parameter: nn.Parameter, kind: Kind, full: Tensor) -> None:
    """Set this rank's part of one parameter's weight or moment, and the working weight with it."""
    stage = engine.zero_optimization_stage()
    if stage == 0:
        target = parameter.data if kind == "weight" else engine.basic_optimizer.state[parameter][kind]
        target.copy_(full)
    elif stage == 3:
        _write_partition(parameter, kind, full)
    else:
        _write_fragment(parameter, kind, full.to(parameter.device))


def _write_fragment(parameter: nn.Parameter, kind: Kind, full: Tensor) -> None:
    """ZeRO 1 and 2: every rank holds the whole working weight and a fragment of the rest."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    if kind != "weight":
        safe_set_full_optimizer_state(parameter, full, kind)
        return
    safe_set_full_fp32_param(parameter, full)
    parameter.data.copy_(full)


def _write_partition(parameter: Any, kind: Kind, full: Tensor) -> None:
    """ZeRO 3: every rank holds an equal part of everything, the last one padded."""
    from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    part = _part(full, parameter.ds_tensor.numel(), torch.distributed.get_rank()).to(
        parameter.ds_tensor.device
    )
    if kind != "weight":
        safe_set_local_optimizer_state(parameter, part, kind)
        return
    safe_set_local_fp32_param(parameter, part)
    parameter.ds_tensor.data.copy_(part)
    if parameter.ds_status == ZeroParamStatus.AVAILABLE:  # small parameters are kept whole beside their part
        parameter.data.copy_(full)


def _part(full: Tensor, size: int, rank: int) -> Tensor:
    part = full.flatten()[rank * size : (rank + 1) * size]
    return nn.functional.pad(part, (0, size - part.numel()))
