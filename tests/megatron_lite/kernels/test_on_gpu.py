"""Every fast path that only a GPU takes, forward and backward, against the reference in fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.attention import (
    Kind,
    attention,
    attention_reference,
    flash_attention,
    varlen_attention,
)
from megatron_lite.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference
from megatron_lite.kernels.grouped import can_group, grouped_linear, grouped_linear_reference
from megatron_lite.kernels.rms_norm import rms_norm, rms_norm_reference
from megatron_lite.kernels.rows import combine, combine_reference, invert, spread, spread_reference
from megatron_lite.kernels.swiglu import swiglu, swiglu_reference
from megatron_lite.model.documents import Documents, documents
from megatron_lite.model.rope import rotate, rotate_reference, rotation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BF16_STEP = 2.0**-8  # the relative distance of neighbours in bf16


def random(*shape: int) -> Tensor:
    """Normal numbers, exact in bf16."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


def assert_near(
    fast: Callable[..., Tensor], reference: Callable[..., Tensor], inputs: Sequence[Tensor], steps: float = 4
) -> None:
    """Result and gradients of bf16 inputs within `steps` bf16 steps of the reference's largest, in fp32."""
    ours = [tensor.cuda().requires_grad_() for tensor in inputs]
    exact = [tensor.cuda().float().requires_grad_() for tensor in inputs]
    out, right = fast(*ours), reference(*exact)
    flowing = random(*right.shape).cuda() if right.ndim else torch.ones((), device="cuda")
    grads = torch.autograd.grad(out, ours, flowing.to(out.dtype))
    right_grads = torch.autograd.grad(right, exact, flowing.float())
    for mine, wanted in zip((out, *grads), (right, *right_grads), strict=True):
        error = (mine.float() - wanted).abs().max() / wanted.abs().max()
        assert error <= steps * BF16_STEP, f"{error / BF16_STEP:.1f} bf16 steps"


def packed() -> Documents:
    """Documents of 1 to a few hundred tokens."""
    tokens_BS = torch.randint(90, (2, 768), generator=torch.Generator().manual_seed(0))
    return documents(tokens_BS, 0).to("cuda")


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (8, 1)], ids=str)
@pytest.mark.parametrize("kind", ["flash_attn", "varlen", "by_document"])
def test_attention(kind: Kind, heads: tuple[int, int]) -> None:
    if kind == "flash_attn" and flash_attention() is None:
        pytest.skip("flash-attn is not installed")
    if kind == "varlen" and varlen_attention() is None:
        pytest.skip("this torch has no variable-length attention with grouped queries")
    where = packed()
    inputs = [random(1536, num, 64) for num in (heads[0], heads[1], heads[1])]
    assert_near(
        lambda q, k, v: attention(q, k, v, where, 0.1, kind=kind),
        lambda q, k, v: attention_reference(q, k, v, where, 0.1),
        inputs,
    )


def test_rms_norm() -> None:
    assert_near(
        lambda x, w: rms_norm(x, w, 1e-6),
        lambda x, w: rms_norm_reference(x, w, 1e-6),
        [random(300, 1536), random(1536)],
    )


def test_swiglu() -> None:
    assert_near(swiglu, swiglu_reference, [random(300, 1024)])


def test_rotate() -> None:
    turn = rotation(torch.arange(300, device="cuda"), 64, 10000.0)
    assert_near(lambda x: rotate(x, turn), lambda x: rotate_reference(x, turn), [random(300, 6, 64)])


def test_grouped_linear() -> None:
    """Empty groups included."""
    ends_E = torch.tensor([0, 100, 100, 301, 512], dtype=torch.int32, device="cuda")
    weight_EOI = random(5, 96, 64)
    assert can_group(weight_EOI)
    assert_near(
        lambda x, w: grouped_linear(x, w, ends_E),
        lambda x, w: grouped_linear_reference(x, w, ends_E),
        [random(512, 64), weight_EOI],
    )


def test_rows() -> None:
    order_R = torch.randperm(1200, generator=torch.Generator().manual_seed(0)).cuda()
    inverse_TK = invert(order_R, 4)
    assert_near(
        lambda x: spread(x, order_R, inverse_TK),
        lambda x: spread_reference(x, order_R, inverse_TK),
        [random(300, 64)],
    )
    assert_near(
        lambda y, w: combine(y, w, order_R, inverse_TK),
        lambda y, w: combine_reference(y, w, order_R, inverse_TK),
        [random(1200, 64), random(300, 4)],
    )


@pytest.mark.parametrize("ignored", ["some", "all"])
def test_cross_entropy(ignored: str) -> None:
    targets_T = torch.randint(5000, (1100,), generator=torch.Generator().manual_seed(0)).cuda()
    targets_T[:: 7 if ignored == "some" else 1] = -100
    inputs = [random(1100, 128), random(5000, 128)]
    if ignored == "all":
        loss = linear_cross_entropy(*(x.cuda() for x in inputs), targets_T, scaling=2.0, ignore=-100)
        assert loss == 0
        return
    assert_near(
        lambda x, w: linear_cross_entropy(x, w, targets_T, scaling=2.0, ignore=-100),
        lambda x, w: linear_cross_entropy_reference(x, w, targets_T, scaling=2.0, ignore=-100),
        inputs,
    )
