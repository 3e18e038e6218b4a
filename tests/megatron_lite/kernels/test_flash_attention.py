"""flash-attn's variable-length attention, emulated as documented: how it is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels import attention as module
from megatron_lite.model.documents import Documents, documents

END = 0
# flash_attn_varlen_func's parameters and defaults, the same from 2.6 to 2.8
REQUIRED = ("q", "k", "v", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k")
DEFAULTS = {
    "dropout_p": 0.0,
    "softmax_scale": None,
    "causal": False,
    "window_size": (-1, -1),
    "softcap": 0.0,
    "alibi_slopes": None,
    "deterministic": False,
    "return_attn_probs": False,
    "block_table": None,
}
FLASH = inspect.Signature(
    [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=DEFAULTS.get(name, inspect._empty)
        )
        for name in (*REQUIRED, *DEFAULTS)
    ]
)


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
    deterministic: bool = False,
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


class Recorder:
    """Stands in for a kernel, and keeps how it was called."""

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()
        self.how: dict[str, Any] = {}

    def __call__(self, *args: Any, **how: Any) -> Tensor:
        self.args, self.how = args, how
        return args[0]


def recorded(
    name: str, call: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch, fixed: dict[str, Any]
) -> tuple[Recorder, list[Tensor], Documents]:
    """How `call` calls the kernel that the function `name` finds, with the arguments that one has fixed."""
    heads, where = example("cpu", torch.float32)
    recorder = Recorder()
    monkeypatch.setattr(module, name, lambda: functools.partial(recorder, **fixed))
    call(*heads, where, 0.2)
    return recorder, heads, where


def test_call_binds_to_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every argument arrives where flash-attn reads it, and what is not given has its default."""
    recorder, heads, where = recorded("flash_attention", module.attention_flash, monkeypatch, {})
    bound = FLASH.bind(*recorder.args, **recorder.how)
    bound.apply_defaults()
    given = dict(zip(REQUIRED, [*heads, *[where.cu_lengths] * 2, *[where.length_bound] * 2], strict=True))
    assert bound.arguments == DEFAULTS | given | {"softmax_scale": 0.2, "causal": True}
    assert where.cu_lengths.dtype == torch.int32
    assert type(where.length_bound) is int


def test_deterministic_arrives_at_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    call = functools.partial(module.attention, kind="flash_attn", deterministic=True)
    recorder, _, _ = recorded("flash_attention", call, monkeypatch, {})
    assert recorder.how["deterministic"] is True
    assert "deterministic" in FLASH.parameters


def test_the_installed_flash_attn_has_that_signature() -> None:
    if module.flash_attention() is None:
        pytest.skip("flash-attn is not installed")
    installed = inspect.signature(module.flash_attention())
    found = {name: parameter.default for name, parameter in installed.parameters.items()}
    assert list(found) == list(FLASH.parameters)
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


def test_call_binds_to_varlen(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the signature of the torch that is installed; causal is a window that ends at the token."""
    varlen = module.varlen_attention()
    if varlen is None:
        pytest.skip("this torch has no variable-length attention with grouped queries")
    recorder, heads, where = recorded(
        "varlen_attention", module.attention_varlen, monkeypatch, varlen.keywords
    )
    bound = inspect.signature(varlen.func).bind(*recorder.args, **recorder.how)
    names = ("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k")
    given = dict(zip(names, [*heads, *[where.cu_lengths] * 2, *[where.length_bound] * 2], strict=True))
    assert bound.arguments == given | {"scale": 0.2, "window_size": (-1, 0), "enable_gqa": True}
