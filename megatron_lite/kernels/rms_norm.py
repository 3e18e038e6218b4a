"""Root-mean-square norm over the last dimension (arXiv 1910.07467), its variance in fp32.

Shapes: T tokens, H hidden width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied
from megatron_lite.kernels.precision import widen


def rms_norm(x_TH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight."""
    if torch.compiler.is_compiling():
        return rms_norm_reference(x_TH, weight_H, eps)  # which the compiler fuses with what is around it
    if x_TH.is_cuda:
        return F.rms_norm(x_TH, weight_H.shape, weight_H, eps)  # torch's fused kernel
    return rms_norm_recomputed(x_TH, weight_H, eps)


def rms_norm_reference(x_TH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
    """The definition; the gain is applied in the type of the weights, as transformers does."""
    wide_TH = widen(x_TH)
    normed_TH = wide_TH * torch.rsqrt(wide_TH.square().mean(-1, keepdim=True) + eps)
    return weight_H * normed_TH.to(x_TH.dtype)


def rms_norm_recomputed(x_TH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
    """The same with a backward pass of its own: torch's on CPU takes four times as long."""
    return applied(_RMSNorm, x_TH, weight_H, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
        wide_TH = widen(x_TH)
        squares_T1 = torch.linalg.vector_norm(wide_TH, dim=-1, keepdim=True).square_()
        scale_T1 = squares_T1.div_(x_TH.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x_TH, weight_H, scale_T1)
        return (wide_TH * scale_T1).mul_(weight_H).to(x_TH.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor, Tensor, None]:
        """With y = x·s: dx = s·(dy·w - y·mean(dy·w·y)), dw = sum of dy·y over tokens."""
        x_TH, weight_H, scale_T1 = ctx.saved_tensors
        normed_TH = widen(x_TH) * scale_T1
        product_TH = grad_TH * normed_TH
        grad_weight_H = product_TH.sum(0).to(weight_H.dtype)
        mean_T1 = (product_TH @ widen(weight_H)).unsqueeze(-1).div_(x_TH.shape[-1])
        grad_x_TH = torch.mul(grad_TH, widen(weight_H), out=product_TH)
        grad_x_TH = grad_x_TH.addcmul_(normed_TH, mean_T1, value=-1).mul_(scale_T1)
        return grad_x_TH.to(x_TH.dtype), grad_weight_H, None
