"""Causal attention inside each document of a packed batch.

Shapes: T tokens of all documents in a row, N query heads, K key and value heads, D head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from megatron_lite.kernels.precision import NARROW
from megatron_lite.model.documents import Documents


def attention(q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) v over the earlier tokens of the same document; result TND."""
    if q_TND.is_cuda and q_TND.dtype in NARROW and flash_attention() is not None:
        return attention_flash(q_TND, k_TKD, v_TKD, documents, scale)
    return attention_by_document(q_TND, k_TKD, v_TKD, documents, scale)


def attention_reference(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float
) -> Tensor:
    """The definition, with one mask over the whole batch."""
    copies = q_TND.shape[1] // k_TKD.shape[1]  # query heads n·copies ... share key head n
    k_TND, v_TND = (tensor.repeat_interleave(copies, dim=1) for tensor in (k_TKD, v_TKD))
    positions_T = torch.arange(len(q_TND), device=q_TND.device)
    document_T = torch.searchsorted(documents.cu_lengths, positions_T, right=True)
    allowed_TT = (document_T[:, None] == document_T) & (positions_T[:, None] >= positions_T)
    logits_NTT = torch.einsum("tnd,snd->nts", q_TND, k_TND) * scale
    weights_NTT = logits_NTT.masked_fill(~allowed_TT, float("-inf")).softmax(-1)
    return torch.einsum("nts,snd->tnd", weights_NTT, v_TND)


def attention_by_document(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float
) -> Tensor:
    """One call of torch's fused attention a document, or one for all where they have one length."""
    bounds = documents.boundaries
    if documents.max_length * (len(bounds) - 1) == bounds[-1]:
        return _batched(q_TND, k_TKD, v_TKD, len(bounds) - 1, scale)
    parts = [
        _batched(q_TND[start:end], k_TKD[start:end], v_TKD[start:end], 1, scale)
        for start, end in pairwise(bounds)
    ]
    return torch.cat(parts)


def attention_flash(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float
) -> Tensor:
    """flash-attn over documents of any lengths, without padding."""
    varlen = flash_attention()
    assert varlen is not None, "attention() asks first"
    return varlen(
        q_TND,
        k_TKD,
        v_TKD,
        cu_seqlens_q=documents.cu_lengths,
        cu_seqlens_k=documents.cu_lengths,
        max_seqlen_q=documents.max_length,
        max_seqlen_k=documents.max_length,
        softmax_scale=scale,
        causal=True,
    )


@functools.cache
def flash_attention() -> Callable[..., Tensor] | None:
    """flash-attn's variable-length attention, or None where the package is not installed."""
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None
    return flash_attn_varlen_func


def _batched(q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, num_documents: int, scale: float) -> Tensor:
    """Documents of one length as a batch; the views cost nothing, and none of them is copied."""
    q, k, v = (tensor.unflatten(0, (num_documents, -1)).transpose(1, 2) for tensor in (q_TND, k_TKD, v_TKD))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, enable_gqa=q_TND.shape[1] != k_TKD.shape[1]
    )
    return out.transpose(1, 2).flatten(0, 1)
