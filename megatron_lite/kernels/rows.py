"""Rows of tokens: each token copied once for every expert that it uses, and the weighted sum of the copies.

Shapes: T tokens, K copies a token, R = T·K rows, H width. order_R[r] is the copy (token·K + k) that stands in
row r; inverse_TK says in which row a copy stands.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.applied import applied
from megatron_lite.kernels.precision import cast, widen


def invert(order_R: Tensor, num_copies: int) -> Tensor:
    """inverse_TK of order_R."""
    inverted = invert_opaque if torch.compiler.is_compiling() else _inverted
    return inverted(order_R).view(-1, num_copies)


def _inverted(order_R: Tensor) -> Tensor:
    inverse_R = torch.empty_like(order_R)
    inverse_R[order_R] = torch.arange(order_R.numel(), device=order_R.device)
    return inverse_R


@torch.library.custom_op("megatron_lite::invert", mutates_args=())
def invert_opaque(order_R: Tensor) -> Tensor:
    """Closed to the compiler: that of torch 2.13 may read what is scattered before it is written."""
    return _inverted(order_R)


@invert_opaque.register_fake
def _(order_R: Tensor) -> Tensor:
    return torch.empty_like(order_R)


def spread(x_TH: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
    """Row r is the token whose copy stands there."""
    return applied(_Spread, x_TH, order_R, inverse_TK)


def spread_reference(x_TH: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
    """The definition."""
    return x_TH[order_R // inverse_TK.shape[1]]


def combine(y_RH: Tensor, weights_TK: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
    """Token t is the sum of its rows, each times its weight."""
    return applied(_Combine, y_RH, weights_TK, order_R, inverse_TK)


def combine_reference(y_RH: Tensor, weights_TK: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
    """The definition."""
    weighted_RH = y_RH * weights_TK.flatten()[order_R].unsqueeze(-1)
    out_TH = y_RH.new_zeros(len(weights_TK), y_RH.shape[-1])
    return out_TH.index_add(0, order_R // inverse_TK.shape[1], weighted_RH)


class _Spread(torch.autograd.Function):
    """The backward pass sums the rows of a token where autograd would add them one by one."""

    @staticmethod
    def forward(ctx: Any, x_TH: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
        ctx.save_for_backward(inverse_TK)
        return x_TH.index_select(0, order_R // inverse_TK.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor, None, None]:
        (inverse_TK,) = ctx.saved_tensors
        return _summed(grad_RH, inverse_TK), None, None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y_RH: Tensor, weights_TK: Tensor, order_R: Tensor, inverse_TK: Tensor) -> Tensor:
        ctx.save_for_backward(y_RH, weights_TK, order_R, inverse_TK)
        return _summed(y_RH, inverse_TK, weights_TK)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor, Tensor, None, None]:
        y_RH, weights_TK, order_R, inverse_TK = ctx.saved_tensors
        grad_RH = grad_TH.index_select(0, order_R // inverse_TK.shape[1])
        grad_weights_R = torch.linalg.vecdot(grad_RH, y_RH)
        grad_y_RH = grad_RH.mul_(weights_TK.flatten()[order_R].unsqueeze(-1))
        return grad_y_RH, grad_weights_R[inverse_TK], None, None


def _summed(rows_RH: Tensor, inverse_TK: Tensor, weights_TK: Tensor | None = None) -> Tensor:
    """The rows of each token, added up in fp32 and in one pass over them."""
    if not torch.compiler.is_compiling():
        rows_RH = rows_RH.contiguous()
        return F.embedding_bag(inverse_TK, rows_RH, per_sample_weights=weights_TK, mode="sum")
    rows_TKH = widen(rows_RH[inverse_TK])
    if weights_TK is not None:
        rows_TKH = rows_TKH * weights_TK[..., None]
    return cast(rows_TKH.sum(1), rows_RH.dtype)
