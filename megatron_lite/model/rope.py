"""Rotary position embedding (arXiv 2104.09864): pairs of channels turn by angles that grow with position.

Channel d of the first half of a head is paired with channel d of the second half, as transformers does.

Shapes: T tokens, N heads, D head width, P = D/2 pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied
from megatron_lite.kernels.precision import widen, widened


class Rotation(NamedTuple):
    """The turn of every pair at every token, in fp32 whatever the weights are held in."""

    cos_TP: Tensor
    sin_TP: Tensor


def rotation(positions_T: Tensor, head_dim: int, theta: float) -> Rotation:
    """The turns for these positions; made once a forward pass, and no buffer that a cast could spoil."""
    exponents_P = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions_T.device) / head_dim
    angles_TP = positions_T.float()[:, None] * (1.0 / theta**exponents_P)
    return Rotation(angles_TP.cos(), angles_TP.sin())


def rotate(x_TND: Tensor, turn: Rotation) -> Tensor:
    """The heads of each token, turned."""
    if torch.compiler.is_compiling():
        return rotate_reference(x_TND, turn)  # which the compiler fuses with what is around it
    return applied(_Rotate, x_TND, *turn)


def rotate_reference(x_TND: Tensor, turn: Rotation) -> Tensor:
    """The definition."""
    cos, sin = (part_TP.to(widened(x_TND.dtype))[:, None] for part_TP in turn)
    first, second = widen(x_TND).chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_TND.dtype)


class _Rotate(torch.autograd.Function):
    """The gradient of a turn is the turn back: nothing of the input has to be kept."""

    @staticmethod
    def forward(ctx: Any, x_TND: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TP, sin_TP)
        return _turned(x_TND, cos_TP, sin_TP)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TND: Tensor) -> tuple[Tensor, None, None]:
        cos_TP, sin_TP = ctx.saved_tensors
        return _turned(grad_TND, cos_TP, -sin_TP), None, None


def _turned(x_TND: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
    wide = widened(x_TND.dtype)
    cos, sin = cos_TP.to(wide)[:, None], sin_TP.to(wide)[:, None]
    first, second = widen(x_TND).chunk(2, dim=-1)
    out_TND = torch.empty(x_TND.shape, dtype=wide, device=x_TND.device)
    out_first, out_second = out_TND.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)
    return out_TND.to(x_TND.dtype)
