"""Attention of one token a sequence over the keys and values that are remembered of it.

Shapes: B sequences, C tokens that are remembered of each (fewer of shorter ones), N query heads, K key and
value heads, G = N/K queries that share a key, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_cached(
    q_BND: Tensor, k_BKCD: Tensor, v_BKCD: Tensor, remembered_BC: Tensor | None, scale: float
) -> Tensor:
    """softmax(scale · q kᵀ) v over the remembered tokens of the same sequence, all where that is None; BND.

    The queries that share a key stand where a batch has its positions: no key is copied for them, and each of
    torch's fused kernels takes that, on any device. The type is that of the keys.
    """
    q_BKGD = q_BND.unflatten(1, (k_BKCD.shape[1], -1)).to(k_BKCD.dtype)
    mask = None if remembered_BC is None else remembered_BC[:, None, None, :]
    out_BKGD = F.scaled_dot_product_attention(q_BKGD, k_BKCD, v_BKCD, attn_mask=mask, scale=scale)
    return out_BKGD.flatten(1, 2).to(q_BND.dtype)


def attention_cached_reference(
    q_BND: Tensor, k_BKCD: Tensor, v_BKCD: Tensor, remembered_BC: Tensor | None, scale: float
) -> Tensor:
    """The definition."""
    copies = q_BND.shape[1] // k_BKCD.shape[1]  # query heads n·copies ... share key head n
    k_BNCD, v_BNCD = (tensor.repeat_interleave(copies, dim=1) for tensor in (k_BKCD, v_BKCD))
    logits_BNC = torch.einsum("bnd,bncd->bnc", q_BND.to(k_BKCD.dtype), k_BNCD) * scale
    if remembered_BC is not None:
        logits_BNC = logits_BNC.masked_fill(~remembered_BC[:, None], float("-inf"))
    return torch.einsum("bnc,bncd->bnd", logits_BNC.softmax(-1), v_BNCD).to(q_BND.dtype)
