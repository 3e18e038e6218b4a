"""Names, shapes, counts and FLOPs of a decoder that is never allocated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.options import ModelOptions
from megatron_lite.model.parameters import count, flops_per_token, parameters
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions

VOCABULARY = 49152
PAPER = {  # arXiv 2408.13359, tables 2 and 4: width, layers, heads, kv heads, inner, experts, a token
    "12m": (128, 32, 2, 2, 320, None, None),
    "36m": (256, 32, 4, 4, 640, None, None),
    "121m": (512, 32, 8, 8, 1280, None, None),
    "1b_dense": (1536, 40, 24, 24, 4096, None, None),
    "1b_moe": (1024, 24, 16, 8, 512, 32, 8),
    "3b_dense": (2304, 40, 36, 36, 9216, None, None),
    "3b_moe": (1536, 32, 24, 8, 512, 40, 8),
}


def paper_shape(name: str) -> ModelShape:
    """A model of the paper, as its options resolve."""
    width, layers, heads, kv_heads, inner, experts, chosen = PAPER[name]
    model = ModelOptions(
        architecture="granitemoe" if experts else "granite",
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
        num_local_experts=experts,
        num_experts_per_tok=chosen,
    )
    return resolve_shape(model, MupOptions(), VOCABULARY)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("12m", 12_329_088, 12_329_088),
        ("36m", 36_716_800, 36_716_800),
        ("121m", 121_668_096, 121_668_096),
        ("1b_dense", 1_208_083_968, 1_208_083_968),
        ("1b_moe", 1_334_625_280, 428_655_616),
        ("3b_dense", 3_510_819_072, 3_510_819_072),
        ("3b_moe", 3_298_788_864, 882_869_760),
    ],
)
def test_sizes_of_the_paper(name: str, total: int, active: int) -> None:
    """Counted to the last weight."""
    counts = count(paper_shape(name))
    assert (counts.total, counts.active) == (total, active)
    assert counts.active_non_embedding == active - PAPER[name][0] * VOCABULARY
    assert counts.embedding == PAPER[name][0] * VOCABULARY


@given(
    head_dim=st.sampled_from([2, 8]),
    kv_heads=st.integers(1, 3),
    copies=st.integers(1, 3),
    layers=st.integers(1, 3),
    inner=st.integers(1, 20),
    experts=st.none() | st.integers(1, 5),
    tied=st.booleans(),
)
def test_the_modules_have_these_parameters(
    make_shape: Callable[..., ModelShape],
    head_dim: int,
    kv_heads: int,
    copies: int,
    layers: int,
    inner: int,
    experts: int | None,
    tied: bool,
) -> None:
    """Same names, same shapes, same order as the real decoder, for any shape."""
    shape = make_shape(
        hidden_size=head_dim * kv_heads * copies,
        num_heads=kv_heads * copies,
        num_kv_heads=kv_heads,
        num_layers=layers,
        intermediate_size=inner,
        num_experts=experts,
        experts_per_token=experts and 1,
        tied=tied,
    )
    with torch.device("meta"):
        real = [(name, tuple(weight.shape)) for name, weight in Decoder(shape).named_parameters()]
    assert [(parameter.name, parameter.shape) for parameter in parameters(shape)] == real
    assert count(shape).total == sum(torch.Size(size).numel() for _, size in real)


def test_untied_head_is_counted(make_shape: Callable[..., ModelShape]) -> None:
    """An untied head is another matrix, used by every token."""
    tied, untied = (count(make_shape(tied=tied)) for tied in (True, False))
    assert untied.total - tied.total == 96 * 32
    assert untied.embedding == 2 * tied.embedding
    assert untied.active_non_embedding == tied.active_non_embedding


@pytest.mark.parametrize("name", ["121m", "3b_moe"])
def test_flops_per_token(name: str) -> None:
    """Six for every weight of a matrix product that a token uses, and causal attention."""
    width, layers, heads, kv_heads, inner, experts, chosen = PAPER[name]
    head_dim = width // heads
    attention = width * head_dim * (2 * heads + 2 * kv_heads)
    channel = 3 * width * inner * (chosen or 1) + width * (experts or 0)
    expected = 6 * (layers * (attention + channel) + VOCABULARY * width) + 6 * layers * width * 4096
    assert flops_per_token(paper_shape(name), 4096) == expected
    assert flops_per_token(paper_shape("3b_moe"), 4096) == 6_504_579_072  # 6 x 882.8M, and 1.2G for attention
