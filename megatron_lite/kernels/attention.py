"""Causal attention inside each document of a packed batch.

Shapes: T tokens of all documents in a row, N query heads, K key and value heads, D head width.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from megatron_lite.kernels.attention_by_document import attention_by_document
from megatron_lite.model.documents import Documents

Kind = Literal["flash_attn", "varlen", "by_document", "reference"]


def attention(
    q_TND: Tensor,
    k_TKD: Tensor,
    v_TKD: Tensor,
    documents: Documents,
    scale: float,
    *,
    kind: Kind = "by_document",
    wide: bool = False,
    deterministic: bool = False,
) -> Tensor:
    """softmax(scale · q kᵀ) v over the earlier tokens of the same document; result TND.

    `wide`: products in fp32 whatever the type is (by_document only: the others are a GPU's). `deterministic`:
    flash-attn's backward pass adds up in a fixed order (the others follow torch's own switch).
    """
    if kind == "flash_attn":
        return attention_flash(q_TND, k_TKD, v_TKD, documents, scale, deterministic=deterministic)
    if kind == "by_document":
        return attention_by_document(q_TND, k_TKD, v_TKD, documents, scale, wide=wide)
    return _KINDS[kind](q_TND, k_TKD, v_TKD, documents, scale)


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


def attention_flash(
    q_TND: Tensor,
    k_TKD: Tensor,
    v_TKD: Tensor,
    documents: Documents,
    scale: float,
    *,
    deterministic: bool = False,
) -> Tensor:
    """flash-attn over documents of any lengths, without padding."""
    call = flash_attention()
    assert call is not None, "the choice of kernels asks first"
    return call(
        q_TND,
        k_TKD,
        v_TKD,
        cu_seqlens_q=documents.cu_lengths,
        cu_seqlens_k=documents.cu_lengths,
        max_seqlen_q=documents.length_bound,
        max_seqlen_k=documents.length_bound,
        softmax_scale=scale,
        causal=True,
        deterministic=deterministic,
    )


def attention_varlen(
    q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents, scale: float
) -> Tensor:
    """torch's own variable-length attention: flash-attn's second version, inside torch."""
    call = varlen_attention()
    assert call is not None, "the choice of kernels asks first"
    longest, cu_lengths = documents.length_bound, documents.cu_lengths
    return call(q_TND, k_TKD, v_TKD, cu_lengths, cu_lengths, longest, longest, scale=scale)


@functools.cache
def flash_attention() -> Callable[..., Tensor] | None:
    """flash-attn's variable-length attention, or None where the package is not installed."""
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None
    return flash_attn_varlen_func


@functools.cache
def varlen_attention() -> Callable[..., Tensor] | None:
    """torch's variable-length attention, causal and with grouped queries, or None where it has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if not {"scale", "window_size", "enable_gqa"} <= known.keys():
        return None
    return functools.partial(varlen_attn, window_size=(-1, 0), enable_gqa=True)  # type: ignore[return-value]


_KINDS: dict[str, Callable[..., Tensor]] = {
    "varlen": attention_varlen,
    "reference": attention_reference,
}
