from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.attention_cached import attention_cached, attention_cached_reference


def inputs(
    heads: int, key_heads: int, lengths: list[int], dtype: torch.dtype, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys and values, and which of those are remembered; the others are zeros, as in a cache."""
    generator = torch.Generator().manual_seed(sum(lengths))
    batch, longest = len(lengths), max(lengths)
    shapes = ((batch, heads, 8), *((batch, key_heads, longest, 8),) * 2)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    remembered_BC = torch.arange(longest) < torch.tensor(lengths)[:, None]
    kept = remembered_BC[:, None, :, None]
    q, k, v = (tensor.to(dtype).to(device) for tensor in (q, k * kept, v * kept))
    return q, k, v, remembered_BC.to(device)


@pytest.mark.parametrize("lengths", [[5], [1], [9, 9], [1, 17, 4]])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_attention_over_what_is_remembered(
    lengths: list[int], heads: int, key_heads: int, dtype: torch.dtype
) -> None:
    q, k, v, remembered = inputs(heads, key_heads, lengths, dtype)
    expected = attention_cached_reference(q, k, v, remembered, 0.3)
    torch.testing.assert_close(attention_cached(q, k, v, remembered, 0.3), expected)
    if len(set(lengths)) == 1:
        torch.testing.assert_close(attention_cached(q, k, v, None, 0.3), expected)


def test_a_sequence_alone_is_as_beside_longer_ones() -> None:
    q, k, v, remembered = inputs(4, 2, [3, 11, 6], torch.float64)
    together = attention_cached(q, k, v, remembered, 0.3)
    for row, length in enumerate((3, 11, 6)):
        part = slice(row, row + 1)
        alone = attention_cached(q[part], k[part, :, :length], v[part, :, :length], None, 0.3)
        torch.testing.assert_close(together[part], alone)


def test_the_result_has_the_type_of_the_queries() -> None:
    q, k, v, remembered = inputs(4, 2, [3, 5], torch.float32)
    assert attention_cached(q.bfloat16(), k, v, remembered, 0.3).dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_on_a_gpu(dtype: torch.dtype) -> None:
    q, k, v, remembered = inputs(8, 2, [300, 17, 256], dtype, "cuda")
    expected = attention_cached_reference(q.double(), k.double(), v.double(), remembered, 0.3)
    found = attention_cached(q, k, v, remembered, 0.3).double()
    assert float((found - expected).abs().max()) < (0.02 if dtype == torch.bfloat16 else 1e-4)
