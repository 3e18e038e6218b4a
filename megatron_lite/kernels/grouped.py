"""Grouped matrix product: rows sorted by group, each group times its own matrix.

Shapes: R rows, E groups, I inputs, O outputs. ends_E[e] is the row after the last of group e (int32).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied
from megatron_lite.kernels.precision import widen

ALIGNMENT_BYTES = 16  # of every stride that F.grouped_mm is given


def grouped_linear(
    x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor, *, grouped: bool = True, wide: bool = False
) -> Tensor:
    """Row r of the result is weight[group of r] @ x[r].

    `grouped`: in one call, where the sizes allow it; `wide`: multiplied in fp32 whatever the type is.
    """
    if grouped and can_group(weight_EOI):
        return applied(_GroupedLinear, x_RI, weight_EOI, ends_E, wide)
    return grouped_linear_reference(x_RI, weight_EOI, ends_E)


def grouped_linear_reference(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """The definition, a product a group; it waits for the device to know the groups."""
    starts = [0, *ends_E.tolist()[:-1]]
    rows = zip(starts, ends_E.tolist(), weight_EOI.unbind(), strict=True)
    return torch.cat([F.linear(x_RI[start:end], weight_OI) for start, end, weight_OI in rows])


def can_group(weight_EOI: Tensor) -> bool:
    """Whether F.grouped_mm takes this type and these sizes."""
    if weight_EOI.dtype not in (torch.bfloat16, torch.float32):
        return False
    return all(size * weight_EOI.element_size() % ALIGNMENT_BYTES == 0 for size in weight_EOI.shape[1:])


class _GroupedLinear(torch.autograd.Function):
    """F.grouped_mm, keeping the weight itself and not a view of it: under ZeRO-3 a view would hold the
    gathered weight of every layer until its backward pass."""

    @staticmethod
    def forward(ctx: Any, x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor, wide: bool) -> Tensor:
        ctx.save_for_backward(x_RI, weight_EOI, ends_E)
        ctx.wide = wide
        return _product(x_RI, weight_EOI.transpose(-2, -1), ends_E, wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RO: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x_RI, weight_EOI, ends_E = ctx.saved_tensors
        grad_RO = grad_RO.contiguous()  # grouped_mm takes no other
        grad_x_RI = grad_weight_EOI = None
        if ctx.needs_input_grad[0]:
            grad_x_RI = _product(grad_RO, weight_EOI, ends_E, ctx.wide)
        if ctx.needs_input_grad[1]:
            grad_weight_EOI = _product(grad_RO.t(), x_RI, ends_E, ctx.wide)
        return grad_x_RI, grad_weight_EOI, None, None


def _product(left: Tensor, right: Tensor, ends_E: Tensor, wide: bool) -> Tensor:
    if wide:
        return _grouped_mm(widen(left), widen(right), ends_E).to(left.dtype)
    return _grouped_mm(left, right, ends_E)


def _grouped_mm(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    if torch.compiler.is_compiling() and left.dtype == torch.float32:
        return grouped_mm_fp32(left, right, ends_E)
    return F.grouped_mm(left, right, offs=ends_E)


@torch.library.custom_op("megatron_lite::grouped_mm_fp32", mutates_args=())
def grouped_mm_fp32(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    """F.grouped_mm, which the compiler of torch 2.13 takes for one of bf16 only."""
    return F.grouped_mm(left, right, offs=ends_E)


@grouped_mm_fp32.register_fake
def _(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    groups = (len(ends_E),) if right.ndim == 2 else ()
    return left.new_empty(*groups, left.shape[0], right.shape[-1])
