"""Products of bf16 taken in fp32: as near to the exact result as bf16 can write it, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.attention import attention, attention_reference
from megatron_lite.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference
from megatron_lite.kernels.grouped import grouped_linear, grouped_linear_reference
from megatron_lite.kernels.product import linear
from megatron_lite.model.documents import documents

BF16_STEP = 2.0**-8
STEPS = {"attention": 2}  # its backward pass reads the result, which bf16 has rounded once
TOKENS_BS = torch.tensor([[3, 1, 4, 0, 5, 9], [2, 6, 5, 3, 0, 8]])
ENDS_E = torch.tensor([4, 4, 12], dtype=torch.int32)


def random(*shape: int) -> Tensor:
    """Normal numbers, exact in bf16."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]] = {
    "linear": (
        lambda x, w: linear(x, w, wide=True),
        lambda x, w: x @ w.t(),
        [random(12, 24), random(16, 24)],
    ),
    "grouped": (
        lambda x, w: grouped_linear(x, w, ENDS_E, wide=True),
        lambda x, w: grouped_linear_reference(x, w, ENDS_E),
        [random(12, 24), random(3, 16, 24)],
    ),
    "attention": (
        lambda q, k, v: attention(q, k, v, documents(TOKENS_BS, 0), 0.2, wide=True),
        lambda q, k, v: attention_reference(q, k, v, documents(TOKENS_BS, 0), 0.2),
        [random(12, 4, 8), random(12, 2, 8), random(12, 2, 8)],
    ),
    "loss": (
        lambda x, w: linear_cross_entropy(x, w, TOKENS_BS.flatten(), scaling=3.0, ignore=9, wide=True),
        lambda x, w: linear_cross_entropy_reference(x, w, TOKENS_BS.flatten(), scaling=3.0, ignore=9),
        [random(12, 24), random(40, 24)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_against_the_reference_in_fp64(name: str) -> None:
    wide, reference, inputs = CASES[name]
    ours = [tensor.clone().requires_grad_() for tensor in inputs]
    exact = [tensor.double().requires_grad_() for tensor in inputs]
    out, right = wide(*ours), reference(*exact)
    flowing = random(*right.shape) if right.ndim else torch.ones(())
    grads = torch.autograd.grad(out, ours, flowing.to(out.dtype))
    right_grads = torch.autograd.grad(right, exact, flowing.double())
    for mine, wanted in zip((out, *grads), (right, *right_grads), strict=True):
        steps = (
            float((mine.detach().double() - wanted.detach()).abs().max() / wanted.detach().abs().max())
            / BF16_STEP
        )
        assert steps <= STEPS.get(name, 1)
    assert all(grad.dtype == torch.bfloat16 for grad in grads)
