"""Matrix product of a layer; where a CPU cannot multiply bf16, in fp32 on the same numbers.

Shapes: I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied
from megatron_lite.kernels.precision import widen


def linear(x: Tensor, weight_OI: Tensor, *, wide: bool = False) -> Tensor:
    """weight @ row for every row of x, in the type of x; `wide` multiplies in fp32 whatever the type is."""
    return applied(_WideLinear, x, weight_OI) if wide else F.linear(x, weight_OI)


class _WideLinear(torch.autograd.Function):
    """Keeps the narrow tensors; the wide ones live for one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return F.linear(widen(x), widen(weight_OI)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        wide_grad = widen(grad)
        grad_x = grad_weight_OI = None
        if ctx.needs_input_grad[0]:
            grad_x = (wide_grad @ widen(weight_OI)).to(x.dtype)
        if ctx.needs_input_grad[1]:
            rows = wide_grad.flatten(0, -2).t() @ widen(x).flatten(0, -2)
            grad_weight_OI = rows.to(weight_OI.dtype)
        return grad_x, grad_weight_OI
