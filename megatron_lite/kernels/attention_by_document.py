"""Attention a document at a time, by torch's fused kernel: what runs everywhere, and fast on CPUs.

On a CPU all documents are one node of the autograd graph, which writes results and gradients in place: a
slice a document would cost a gradient of the size of the whole batch each. Opaque to the compiler as well,
since the loop reads the lengths on the host.

Shapes: T tokens of all documents in a row, N query heads, K key and value heads, D head width, B documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from megatron_lite.kernels.precision import widen
from megatron_lite.model.documents import Documents

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attention_by_document(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float, *, wide: bool = False
) -> Tensor:
    """One fused call a document, or one for all where they have one length; `wide`: in fp32."""
    if q_TND.device.type == "cpu":
        return cpu_attention(q_TND, k_TKD, v_TKD, documents.cu_lengths, scale, wide)[0]
    bounds = documents.boundaries
    if documents.max_length * (len(bounds) - 1) == bounds[-1]:
        return _batched(q_TND, k_TKD, v_TKD, len(bounds) - 1, scale)
    parts = [
        _batched(q_TND[start:end], k_TKD[start:end], v_TKD[start:end], 1, scale)
        for start, end in pairwise(bounds)
    ]
    return torch.cat(parts)


def _batched(q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, num_documents: int, scale: float) -> Tensor:
    """Documents of one length as a batch; the views cost nothing, and none of them is copied."""
    q, k, v = (tensor.unflatten(0, (num_documents, -1)).transpose(1, 2) for tensor in (q_TND, k_TKD, v_TKD))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, enable_gqa=q_TND.shape[1] != k_TKD.shape[1]
    )
    return out.transpose(1, 2).flatten(0, 1)


@torch.library.custom_op("megatron_lite::cpu_attention", mutates_args=())
def cpu_attention(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, cu_lengths: Tensor, scale: float, wide: bool
) -> tuple[Tensor, Tensor]:
    """The result TND, and the logsumexp of the attention logits TN for the backward pass."""
    out_TND = torch.empty_like(q_TND, memory_format=torch.contiguous_format)
    sums_TN = q_TND.new_empty(q_TND.shape[:2], dtype=widen(q_TND[:0]).dtype)
    for part, documents in _stretches(cu_lengths):
        q, k, v = (_as_batch(tensor[part], documents, wide) for tensor in (q_TND, k_TKD, v_TKD))
        out, sums = _flash(q, *_for_each_query(q, k, v), 0.0, True, scale=scale)
        _as_batch(out_TND[part], documents).copy_(out)
        sums_TN[part].unflatten(0, (documents, -1)).transpose(1, 2).copy_(sums)
    return out_TND, sums_TN


@cpu_attention.register_fake
def _(q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, cu_lengths: Tensor, scale: float, wide: bool) -> Any:
    sums_TN = q_TND.new_empty(q_TND.shape[:2], dtype=widen(q_TND[:0]).dtype)
    return torch.empty_like(q_TND, memory_format=torch.contiguous_format), sums_TN


@torch.library.custom_op("megatron_lite::cpu_attention_backward", mutates_args=())
def cpu_attention_backward(
    grad_TND: Tensor,
    q_TND: Tensor,
    k_TKD: Tensor,
    v_TKD: Tensor,
    out_TND: Tensor,
    sums_TN: Tensor,
    cu_lengths: Tensor,
    scale: float,
    wide: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by q, k and v."""
    grads = [_like(tensor) for tensor in (q_TND, k_TKD, v_TKD)]
    for part, documents in _stretches(cu_lengths):
        grad, q, k, v, out = (
            _as_batch(tensor[part], documents, wide) for tensor in (grad_TND, q_TND, k_TKD, v_TKD, out_TND)
        )
        sums = sums_TN[part].unflatten(0, (documents, -1)).transpose(1, 2)
        found = _flash_backward(grad, q, *_for_each_query(q, k, v), out, sums, 0.0, True, scale=scale)
        for into, by_query in zip(grads, found, strict=True):
            view = _as_batch(into[part], documents)
            view.copy_(_for_each_key(by_query, view.shape[1]))
    return grads[0], grads[1], grads[2]


@cpu_attention_backward.register_fake
def _(
    grad_TND: Tensor, q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(q_TND), _like(k_TKD), _like(v_TKD)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, scale, wide = inputs
    ctx.scale, ctx.wide = scale, wide
    ctx.save_for_backward(*tensors, *output)


def _back(ctx: Any, grad_TND: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    q_TND, k_TKD, v_TKD, cu_lengths, out_TND, sums_TN = ctx.saved_tensors
    grads = cpu_attention_backward(
        grad_TND, q_TND, k_TKD, v_TKD, out_TND, sums_TN, cu_lengths, ctx.scale, ctx.wide
    )
    return (*grads, None, None, None)


cpu_attention.register_autograd(_back, setup_context=_keep)


def _stretches(cu_lengths: Tensor) -> Iterator[tuple[slice, int]]:
    """Stretches of tokens, each of a number of documents of one length."""
    bounds = cu_lengths.tolist()
    first = 0
    for last in range(1, len(bounds)):
        ends = last + 1 == len(bounds)
        if ends or bounds[last + 1] - bounds[last] != bounds[last] - bounds[last - 1]:
            if bounds[last] > bounds[first]:
                yield slice(bounds[first], bounds[last]), last - first
            first = last


def _as_batch(part_TND: Tensor, documents: int, wide: bool = False) -> Tensor:
    """Documents, heads, tokens of a document, D: a view, or its wide copy."""
    batch = part_TND.unflatten(0, (documents, -1)).transpose(1, 2)
    return widen(batch) if wide else batch


def _for_each_query(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values once for every query head that shares them."""
    copies = q.shape[1] // k.shape[1]
    if copies == 1:
        return k, v
    return k.repeat_interleave(copies, dim=1), v.repeat_interleave(copies, dim=1)


def _for_each_key(grad: Tensor, num_heads: int) -> Tensor:
    """The gradients of query heads, added up over those that share a key."""
    if grad.shape[1] == num_heads:
        return grad
    return grad.unflatten(1, (num_heads, -1)).sum(2)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)
