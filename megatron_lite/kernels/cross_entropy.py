"""Cross-entropy of a linear head without the logits of a whole batch ever existing.

    loss = sum over valid t of logsumexp(z_t) - z_t[target_t],   z_t = head @ x_t / scaling

A chunk of rows at a time; sums in fp32. The gradients are computed in the forward pass, where the logits
are at hand, and multiplied by the incoming gradient (a scalar) in the backward pass.

Shapes: T tokens, H hidden width, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.precision import widen, widened

Wanted = tuple[bool, bool]  # a gradient by x, by the head

MAX_CHUNK_BYTES = 64 * 2**20  # of fp32 logits
MAX_CHUNK_ROWS = 512  # enough for matrix products; the allocator reuses small buffers and not large ones


def linear_cross_entropy(
    x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, *, scaling: float, ignore: int
) -> Tensor:
    """The sum of nats over the targets that are not `ignore`, an fp32 scalar (fp64 of fp64)."""
    if torch.is_grad_enabled() and (x_TH.requires_grad or head_VH.requires_grad):
        return _LinearCrossEntropy.apply(x_TH, head_VH, targets_T, scaling, ignore)
    loss, _, _ = _chunked(x_TH, head_VH, targets_T, scaling, ignore, (False, False))
    return loss


def linear_cross_entropy_reference(
    x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, *, scaling: float, ignore: int
) -> Tensor:
    """The definition, all logits at once."""
    logits_TV = widen(F.linear(x_TH, head_VH)) / scaling
    return F.cross_entropy(logits_TV, targets_T, ignore_index=ignore, reduction="sum")


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, scaling: float, ignore: int
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:2]
        loss, *ctx.gradients = _chunked(x_TH, head_VH, targets_T, scaling, ignore, wanted)
        ctx.head_dtype = head_VH.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy scales its gradients in place: one backward pass only")
        (grad_x_TH, grad_head_VH), ctx.gradients = ctx.gradients, None
        if grad_x_TH is not None:
            grad_x_TH.mul_(grad)
        if grad_head_VH is not None:
            grad_head_VH = grad_head_VH.mul_(grad).to(ctx.head_dtype)
        return grad_x_TH, grad_head_VH, None, None, None


def _chunked(
    x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, scaling: float, ignore: int, wanted: Wanted
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The loss, and those of its gradients by x and by the head that are wanted."""
    wide = widened(x_TH.dtype)
    loss = x_TH.new_zeros((), dtype=wide)
    grad_x_TH = torch.empty_like(x_TH) if wanted[0] else None
    grad_head_VH = torch.zeros_like(head_VH, dtype=wide) if wanted[1] else None
    buffers = _buffers(x_TH, len(head_VH))
    for first in range(0, len(x_TH), len(buffers[0])):
        part = slice(first, first + len(buffers[0]))
        x_CH, valid_C = x_TH[part], targets_T[part] != ignore
        targets_C1 = targets_T[part].where(valid_C, 0)[:, None]
        log_p_CV = _log_probabilities(x_CH, head_VH, scaling, *buffers)
        loss -= log_p_CV.gather(1, targets_C1).squeeze(1).where(valid_C, 0).sum()
        if not any(wanted):
            continue
        grad_CV = _logit_gradients(log_p_CV, targets_C1, buffers[1])
        weight_C1 = (valid_C.to(wide) / scaling)[:, None]
        if grad_x_TH is not None:
            torch.mul(grad_CV @ head_VH, weight_C1, out=grad_x_TH[part])
        if grad_head_VH is not None:
            _add_product(grad_head_VH, grad_CV, (x_CH * weight_C1).to(x_CH.dtype))
    return loss, grad_x_TH, grad_head_VH


def _buffers(x_TH: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """CV of one chunk to sum in, and to multiply matrices in; the same tensor where the type is the same."""
    chunk_rows = max(1, min(len(x_TH), MAX_CHUNK_ROWS, MAX_CHUNK_BYTES // (4 * vocab_size)))
    wide_CV = x_TH.new_empty(chunk_rows, vocab_size, dtype=widened(x_TH.dtype))
    return wide_CV, wide_CV if wide_CV.dtype == x_TH.dtype else torch.empty_like(wide_CV, dtype=x_TH.dtype)


def _log_probabilities(
    x_CH: Tensor, head_VH: Tensor, scaling: float, wide_CV: Tensor, narrow_CV: Tensor
) -> Tensor:
    wide_CV, narrow_CV = wide_CV[: len(x_CH)], narrow_CV[: len(x_CH)]  # the last chunk may be shorter
    narrow_CV.addmm_(x_CH, head_VH.t(), beta=0, alpha=1 / scaling)
    if narrow_CV.dtype != wide_CV.dtype:
        wide_CV.copy_(narrow_CV)
    return torch.log_softmax(wide_CV, dim=-1, out=wide_CV)


def _logit_gradients(log_p_CV: Tensor, targets_C1: Tensor, narrow_CV: Tensor) -> Tensor:
    """p - 1 at the target and p elsewhere, made where the logits were and ready for a matrix product."""
    p_CV = log_p_CV.exp_()
    p_CV.scatter_add_(1, targets_C1, p_CV.new_full(targets_C1.shape, -1.0))
    return p_CV if p_CV.dtype == narrow_CV.dtype else narrow_CV[: len(p_CV)].copy_(p_CV)


def _add_product(sum_VH: Tensor, grad_CV: Tensor, x_CH: Tensor) -> None:
    if sum_VH.dtype == x_CH.dtype:
        sum_VH.addmm_(grad_CV.t(), x_CH)
    else:
        sum_VH.add_(grad_CV.t() @ x_CH)
