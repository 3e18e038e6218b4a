"""Every kernel against its definition, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.attention import attention, attention_by_document, attention_reference
from megatron_lite.kernels.grouped import can_group, grouped_linear, grouped_linear_reference
from megatron_lite.kernels.rms_norm import rms_norm, rms_norm_recomputed, rms_norm_reference
from megatron_lite.kernels.rows import combine, combine_reference, invert, spread, spread_reference
from megatron_lite.kernels.swiglu import swiglu, swiglu_recomputed, swiglu_reference
from megatron_lite.model.documents import Documents, documents
from megatron_lite.model.rope import rotate, rotation

DTYPES = [torch.float32, torch.float64]


def outputs_and_gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The result, and the gradient by every input for a fixed incoming gradient that is not contiguous."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    result = function(*inputs)
    flowing = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).view(result.shape[::-1])
    return [result, *torch.autograd.grad(result, inputs, flowing.permute(*range(result.ndim)[::-1]))]


def assert_parity(
    fast: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    *inputs: Tensor,
    tolerance: float | None = None,
) -> None:
    """The same results and gradients, in the same types."""
    for ours, theirs in zip(
        outputs_and_gradients(fast, inputs), outputs_and_gradients(reference, inputs), strict=True
    ):
        limits = (
            {} if tolerance is None else {"rtol": tolerance, "atol": tolerance * theirs.abs().max().item()}
        )
        torch.testing.assert_close(ours, theirs, **limits)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers, the same for every dtype."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(
        dtype
    )


@pytest.mark.parametrize("function", [rms_norm, rms_norm_recomputed])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rms_norm(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    x_TH, weight_H = random(7, 24, dtype=dtype), random(24, dtype=dtype)
    assert_parity(
        lambda x, w: function(x, w, 1e-2), lambda x, w: rms_norm_reference(x, w, 1e-2), x_TH, weight_H
    )


def test_rms_norm_variance_is_wide_in_bf16() -> None:
    """A sum of squares taken in bf16 would stop growing after 256 ones."""
    x_TH, weight_H = torch.ones(2, 4096, dtype=torch.bfloat16), torch.ones(4096, dtype=torch.bfloat16)
    assert torch.equal(rms_norm(x_TH, weight_H, 0.0), x_TH)
    assert_parity(
        lambda x, w: rms_norm(x, w, 1e-6),
        lambda x, w: rms_norm_reference(x, w, 1e-6),
        random(9, 64, dtype=torch.bfloat16),
        random(64, dtype=torch.bfloat16),
        tolerance=0.02,
    )


@pytest.mark.parametrize("function", [swiglu, swiglu_recomputed])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_swiglu(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    assert_parity(function, swiglu_reference, random(11, 20, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rotate(dtype: torch.dtype) -> None:
    """Against complex numbers: a pair of channels is a number, and turning it a product."""
    turn = rotation(torch.tensor([0, 1, 2, 30]), 8, 100.0)

    def by_complex_numbers(x_TND: Tensor) -> Tensor:
        pairs = torch.complex(*x_TND.double().chunk(2, dim=-1))
        turned = pairs * torch.complex(turn.cos_TP.double(), turn.sin_TP.double())[:, None]
        return torch.cat([turned.real, turned.imag], dim=-1).to(x_TND.dtype)

    assert_parity(lambda x: rotate(x, turn), by_complex_numbers, random(4, 3, 8, dtype=dtype))
    torch.testing.assert_close(rotate(random(4, 3, 8), turn)[0], random(4, 3, 8)[0])  # position 0: no turn
    torch.testing.assert_close(
        turn.cos_TP[3, 1], torch.tensor(30 * 100.0 ** (-2 / 8), dtype=torch.float64).cos().float()
    )


@pytest.mark.parametrize("counts", [[3, 0, 5, 1], [0, 0, 0, 9], [9, 0, 0, 0], [2, 3, 2, 2]], ids=str)
@pytest.mark.parametrize(("inputs", "grouped"), [(8, True), (6, False)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_grouped_linear(counts: list[int], inputs: int, grouped: bool, dtype: torch.dtype) -> None:
    """Empty groups included; sizes that grouped_mm cannot take go another way to the same result."""
    ends_E = torch.tensor(counts).cumsum(0).to(torch.int32)
    x_RI, weight_EOI = random(9, inputs, dtype=dtype), random(4, 12, inputs, dtype=dtype)
    assert can_group(weight_EOI) == (grouped and dtype == torch.float32)

    def one_row_at_a_time(x: Tensor, weight: Tensor) -> Tensor:
        groups = torch.arange(4).repeat_interleave(torch.tensor(counts))
        return torch.einsum("roi,ri->ro", weight[groups], x)

    for function in (grouped_linear, grouped_linear_reference):
        assert_parity(lambda x, w, f=function: f(x, w, ends_E), one_row_at_a_time, x_RI, weight_EOI)


def test_grouped_linear_bf16() -> None:
    ends_E = torch.tensor([10, 10, 32], dtype=torch.int32)
    assert_parity(
        lambda x, w: grouped_linear(x, w, ends_E),
        lambda x, w: grouped_linear_reference(x.double(), w.double(), ends_E).bfloat16(),
        random(32, 16, dtype=torch.bfloat16),
        random(3, 8, 16, dtype=torch.bfloat16),
        tolerance=0.01,
    )


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16], ids=str)
def test_rows(dtype: torch.dtype) -> None:
    """Copies of tokens by expert, and their weighted sum."""
    order_R = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    inverse_TK = invert(order_R, 3)
    assert torch.equal(order_R[inverse_TK.flatten()], torch.arange(15))
    tolerance = 0.02 if dtype == torch.bfloat16 else None
    for fast, reference, inputs in (
        (spread, spread_reference, [random(5, 8, dtype=dtype)]),
        (combine, combine_reference, [random(15, 8, dtype=dtype), random(5, 3, dtype=dtype)]),
    ):
        assert_parity(
            lambda *x, f=fast: f(*x, order_R, inverse_TK),
            lambda *x, f=reference: f(*x, order_R, inverse_TK),
            *inputs,
            tolerance=tolerance,
        )


def packed(lengths: Sequence[int]) -> Documents:
    """Documents of these lengths in one sequence."""
    tokens = torch.ones(1, sum(lengths), dtype=torch.long)
    tokens[0, torch.tensor(lengths).cumsum(0) - 1] = 0
    return documents(tokens, end_id=0)


@pytest.mark.parametrize("function", [attention, attention_by_document])
@pytest.mark.parametrize("lengths", [[12], [4, 4, 4], [1, 8, 3], [1, 1, 10]], ids=str)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_attention(
    function: Callable[..., Tensor], lengths: list[int], kv_heads: int, dtype: torch.dtype
) -> None:
    """One document, equal ones, unequal ones; any number of key heads."""
    where = packed(lengths)
    q_TND, k_TKD, v_TKD = (random(12, heads, 8, dtype=dtype) for heads in (4, kv_heads, kv_heads))
    v_TKD = v_TKD.flip(0)
    assert_parity(
        lambda q, k, v: function(q, k, v, where, 0.3),
        lambda q, k, v: attention_reference(q, k, v, where, 0.3),
        q_TND,
        k_TKD,
        v_TKD,
    )


def test_attention_closed_form() -> None:
    """Equal keys give every earlier token of the document the same weight."""
    values = torch.tensor([1.0, 3.0, 5.0, 10.0, 20.0]).view(5, 1, 1).expand(5, 1, 8)
    zeros = torch.zeros(5, 1, 8)
    for function in (attention, attention_reference):
        out = function(zeros, zeros, values, packed([3, 2]), 1.0)[:, 0, 0]
        torch.testing.assert_close(out, torch.tensor([1.0, 2.0, 3.0, 10.0, 15.0]))
