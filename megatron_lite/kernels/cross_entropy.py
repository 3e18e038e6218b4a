"""Cross-entropy of a linear head without the logits of a whole batch ever existing.

    loss = sum over valid t of logsumexp(z_t) - z_t[target_t],   z_t = head @ x_t / scaling

A chunk of rows at a time; logits and sums in fp32 whatever the weights are held in. The gradients are
computed in the forward pass, where the logits are at hand, and multiplied by the incoming gradient (a scalar)
in the backward pass. Where a product cannot give fp32 by itself, it is taken a block of the vocabulary at a
time, so that what is converted stays small.

Shapes: T tokens, H hidden width, V vocabulary, C tokens of a chunk, B words of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from megatron_lite.kernels.precision import cast, widen, widened

Wanted = tuple[bool, bool]  # a gradient by x, by the head

MAX_CHUNK_BYTES = 64 * 2**20  # of fp32 logits
MAX_CHUNK_ROWS = 512  # enough for matrix products; the allocator reuses small buffers and not large ones
MAX_BLOCK_BYTES = 24 * 2**20  # of what is converted at a time


def linear_cross_entropy(
    x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, *, scaling: float, ignore: int, wide: bool = False
) -> Tensor:
    """The sum of nats over the targets that are not `ignore`, an fp32 scalar (fp64 of fp64).

    `wide`: multiply in fp32 whatever the type is.
    """
    if torch.is_grad_enabled() and (x_TH.requires_grad or head_VH.requires_grad):
        return _LinearCrossEntropy.apply(x_TH, head_VH, targets_T, scaling, ignore, wide)
    loss, _, _ = _chunked(x_TH, head_VH, targets_T, scaling, ignore, wide, (False, False))
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
        ctx: Any, x_TH: Tensor, head_VH: Tensor, targets_T: Tensor, scaling: float, ignore: int, wide: bool
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:2]
        loss, *ctx.gradients = _chunked(x_TH, head_VH, targets_T, scaling, ignore, wide, wanted)
        ctx.head = head_VH.shape, head_VH.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy scales its gradients in place: one backward pass only")
        (grad_x_TH, grad_head_BH), ctx.gradients = ctx.gradients, None
        if grad_x_TH is not None:
            grad_x_TH.mul_(grad)
        grad_head_VH = _joined(grad_head_BH, grad, *ctx.head) if grad_head_BH else None
        return grad_x_TH, grad_head_VH, None, None, None, None


def _joined(blocks_BH: list[Tensor], factor: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The blocks times a factor as one tensor, each let go as soon as it is copied."""
    if len(blocks_BH) == 1 and blocks_BH[0].dtype == dtype:
        return blocks_BH[0].mul_(factor)
    joined_VH = blocks_BH[0].new_empty(shape, dtype=dtype)
    first = 0
    while blocks_BH:
        block_BH = blocks_BH.pop(0)
        joined_VH[first : first + len(block_BH)].copy_(block_BH.mul_(factor))
        first += len(block_BH)
    return joined_VH


def _chunked(
    x_TH: Tensor,
    head_VH: Tensor,
    targets_T: Tensor,
    scaling: float,
    ignore: int,
    wide: bool,
    wanted: Wanted,
) -> tuple[Tensor, Tensor | None, list[Tensor] | None]:
    """The loss, and those of its gradients by x and by the head (in blocks) that are wanted."""
    sums = widened(x_TH.dtype)
    multiply = sums if wide else x_TH.dtype  # the type of the factors
    blocks = _blocks(head_VH, multiply)
    loss = x_TH.new_zeros((), dtype=sums)
    grad_x_TH = torch.empty_like(x_TH) if wanted[0] else None
    grad_head_BH = [torch.zeros_like(head_VH[block], dtype=sums) for block in blocks] if wanted[1] else None
    buffer_CV = x_TH.new_empty(_chunk_rows(x_TH, len(head_VH)), len(head_VH), dtype=sums)
    for first in range(0, len(x_TH), len(buffer_CV)):
        part = slice(first, first + len(buffer_CV))
        x_CH, valid_C = cast(x_TH[part], multiply), targets_T[part] != ignore
        targets_C1 = targets_T[part].where(valid_C, 0)[:, None]
        log_p_CV = _log_probabilities(x_CH, head_VH, blocks, scaling, buffer_CV[: len(x_CH)])
        loss -= log_p_CV.gather(1, targets_C1).squeeze(1).where(valid_C, 0).sum()
        if not any(wanted):
            continue
        grad_CV = _logit_gradients(log_p_CV, targets_C1)
        weight_C1 = (valid_C.to(sums) / scaling)[:, None]
        weighted_CH = cast(x_CH * weight_C1, multiply)
        sum_CH = torch.zeros_like(x_CH, dtype=sums)
        for index, block in enumerate(blocks):
            grad_CB = cast(grad_CV[:, block], multiply)
            if grad_x_TH is not None:
                _add_product(sum_CH, grad_CB, cast(head_VH[block], multiply))
            if grad_head_BH is not None:
                _add_product(grad_head_BH[index], grad_CB.t(), weighted_CH)
        if grad_x_TH is not None:
            grad_x_TH[part].copy_(sum_CH.mul_(weight_C1))
    return loss, grad_x_TH, grad_head_BH


def _chunk_rows(x_TH: Tensor, vocab_size: int) -> int:
    return max(1, min(len(x_TH), MAX_CHUNK_ROWS, MAX_CHUNK_BYTES // (4 * vocab_size)))


def _blocks(head_VH: Tensor, multiply: torch.dtype) -> Sequence[slice]:
    """Blocks of the vocabulary: one of all where no factor and no product has to be converted."""
    vocab_size, width = head_VH.shape
    as_it_is = head_VH.dtype == multiply == widened(multiply)
    if as_it_is or head_VH.is_cuda:  # a GPU's product of narrow factors can give fp32
        return [slice(0, vocab_size)]
    size = max(1, MAX_BLOCK_BYTES // (4 * max(width, MAX_CHUNK_ROWS)))
    return [slice(first, min(first + size, vocab_size)) for first in range(0, vocab_size, size)]


def _log_probabilities(
    x_CH: Tensor, head_VH: Tensor, blocks: Sequence[slice], scaling: float, out_CV: Tensor
) -> Tensor:
    for block in blocks:
        _add_product(out_CV[:, block], x_CH, cast(head_VH[block], x_CH.dtype).t(), beta=0, alpha=1 / scaling)
    return torch.log_softmax(out_CV, dim=-1, out=out_CV)


def _logit_gradients(log_p_CV: Tensor, targets_C1: Tensor) -> Tensor:
    """p - 1 at the target and p elsewhere, made where the logits were."""
    p_CV = log_p_CV.exp_()
    return p_CV.scatter_add_(1, targets_C1, p_CV.new_full(targets_C1.shape, -1.0))


def _add_product(total: Tensor, left: Tensor, right: Tensor, beta: float = 1, alpha: float = 1) -> None:
    """total = beta · total + alpha · left @ right, summed in the type of `total`."""
    if total.dtype == left.dtype:
        total.addmm_(left, right, beta=beta, alpha=alpha)
    elif total.is_cuda:
        how = {"beta": beta, "alpha": alpha, "out": total}
        torch.ops.aten.addmm.dtype_out(total, left, right, total.dtype, **how)
    elif beta == 0:
        torch.mul(left @ right, alpha, out=total)
    else:
        total.add_(left @ right, alpha=alpha)
