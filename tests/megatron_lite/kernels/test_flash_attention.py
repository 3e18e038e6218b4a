"""flash-attn's variable-length attention, emulated as documented: how it is called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels import attention as module
from megatron_lite.model.documents import Documents, documents

END = 0


def example(device: str, dtype: torch.dtype) -> tuple[list[Tensor], Documents]:
    """Queries, keys and values of 32 tokens in documents of several lengths."""
    tokens_BS = torch.randint(4, (2, 16), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    heads = [torch.randn(32, num, 64, generator=generator).to(device, dtype) for num in (4, 2, 2)]
    return heads, documents(tokens_BS, END).to(device)


def emulated(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """flash_attn_varlen_func as documented, its first arguments in its own order, a document at a time."""
    assert causal
    assert dropout_p == 0.0
    assert softmax_scale is not None
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert int(cu_seqlens_q.diff().max()) <= max_seqlen_q == max_seqlen_k
    out = torch.empty_like(q)
    for start, end in zip(cu_seqlens_q[:-1].tolist(), cu_seqlens_k[1:].tolist(), strict=True):
        queries, keys, values = (part[start:end].transpose(0, 1) for part in (q, k, v))
        keys, values = (part.repeat_interleave(len(queries) // len(part), dim=0) for part in (keys, values))
        logits = softmax_scale * queries @ keys.transpose(1, 2)
        mask = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
        out[start:end] = (logits.masked_fill(mask, float("-inf")).softmax(-1) @ values).transpose(0, 1)
    return out


def test_call_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in that checks its arguments, the flash path gives the reference."""
    heads, where = example("cpu", torch.float64)
    monkeypatch.setattr(module, "flash_attention", lambda: emulated)
    ours = module.attention_flash(*heads, where, 0.2)
    torch.testing.assert_close(ours, module.attention_reference(*heads, where, 0.2))
