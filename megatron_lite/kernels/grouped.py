"""Grouped matrix product: rows sorted by group, each group times its own matrix.

Shapes: R rows, E groups, I inputs, O outputs. ends_E[e] is the row after the last of group e (int32).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ALIGNMENT_BYTES = 16  # of every stride that F.grouped_mm is given


def grouped_linear(x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Row r of the result is weight[group of r] @ x[r]."""
    if can_group(weight_EOI):
        return _GroupedLinear.apply(x_RI, weight_EOI, ends_E)
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
    def forward(ctx: Any, x_RI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
        ctx.save_for_backward(x_RI, weight_EOI, ends_E)
        return F.grouped_mm(x_RI, weight_EOI.transpose(-2, -1), offs=ends_E)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RO: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_RI, weight_EOI, ends_E = ctx.saved_tensors
        grad_RO = grad_RO.contiguous()  # grouped_mm takes no other
        grad_x_RI = F.grouped_mm(grad_RO, weight_EOI, offs=ends_E) if ctx.needs_input_grad[0] else None
        grad_weight_EOI = F.grouped_mm(grad_RO.t(), x_RI, offs=ends_E) if ctx.needs_input_grad[1] else None
        return grad_x_RI, grad_weight_EOI, None
