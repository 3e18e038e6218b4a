"""SwiGLU (arXiv 2002.05202): silu(gate) * up, with gate and up the two halves of one matrix product.

Shapes: T tokens (or rows of tokens), I inner width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied


def swiglu(gate_up_TI2: Tensor) -> Tensor:
    """silu(first half) * second half."""
    if torch.compiler.is_compiling():
        return swiglu_reference(gate_up_TI2)  # which the compiler fuses with what is around it
    return swiglu_recomputed(gate_up_TI2)


def swiglu_reference(gate_up_TI2: Tensor) -> Tensor:
    """The definition."""
    gate_TI, up_TI = gate_up_TI2.chunk(2, dim=-1)
    return F.silu(gate_TI) * up_TI


def swiglu_recomputed(gate_up_TI2: Tensor) -> Tensor:
    """The same, keeping its input alone for the backward pass: silu is cheaper than its memory."""
    return applied(_SwiGLU, gate_up_TI2)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_TI2: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_TI2)
        gate_TI, up_TI = gate_up_TI2.chunk(2, dim=-1)
        return F.silu(gate_TI).mul_(up_TI)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TI: Tensor) -> Tensor:
        (gate_up_TI2,) = ctx.saved_tensors
        gate_TI, up_TI = gate_up_TI2.chunk(2, dim=-1)
        grad_TI2 = torch.empty_like(gate_up_TI2)
        grad_gate_TI, grad_up_TI = grad_TI2.chunk(2, dim=-1)
        torch.mul(grad_TI, F.silu(gate_TI), out=grad_up_TI)
        torch.ops.aten.silu_backward.grad_input(grad_TI * up_TI, gate_TI, grad_input=grad_gate_TI)
        return grad_TI2
