"""The chunked loss: value and gradients against fp64, and what it never holds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from megatron_lite.kernels import cross_entropy
from megatron_lite.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference

IGNORE = -100
TOKENS, WIDTH, VOCABULARY = 23, 16, 50


def example(dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, a head and targets; what bf16 holds exactly, in any dtype."""
    generator = torch.Generator().manual_seed(seed)
    x_TH = torch.randn(TOKENS, WIDTH, generator=generator).bfloat16().to(dtype)
    head_VH = torch.randn(VOCABULARY, WIDTH, generator=generator).bfloat16().to(dtype)
    targets_T = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return x_TH.requires_grad_(), head_VH.requires_grad_(), targets_T


def exact(targets_T: Tensor, scaling: float, factor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients of `factor` times it, by autograd in fp64."""
    x_TH, head_VH, _ = example(torch.float64)
    logits_TV = F.linear(x_TH, head_VH) / scaling
    loss = F.cross_entropy(logits_TV, targets_T, ignore_index=IGNORE, reduction="sum")
    return (loss.detach(), *torch.autograd.grad(factor * loss, (x_TH, head_VH)))


@pytest.fixture(params=[1, 5, 8, 1000], ids="chunks_of_{}".format)
def chunk_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of one row, with an uneven last one, and larger than the batch."""
    monkeypatch.setattr(cross_entropy, "MAX_CHUNK_ROWS", request.param)
    return request.param


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("ignored", [[], [0, 7, 8, 22], range(10, 20)], ids=["none", "some", "a_chunk"])
@pytest.mark.parametrize("scaling", [1.0, 6.0, 0.5])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 0.01)], ids=str
)
def test_value_and_gradients(
    dtype: torch.dtype, tolerance: float, scaling: float, ignored: list[int]
) -> None:
    """Against fp64, relative to the largest value; the incoming gradient is not 1."""
    x_TH, head_VH, targets_T = example(dtype)
    targets_T[list(ignored)] = IGNORE
    loss = linear_cross_entropy(x_TH, head_VH, targets_T, scaling=scaling, ignore=IGNORE)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (0.25 * loss).backward()
    for ours, right in zip((loss, x_TH.grad, head_VH.grad), exact(targets_T, scaling, 0.25), strict=True):
        assert (ours.double() - right).abs().max() <= tolerance * right.abs().max()
    assert (x_TH.grad[list(ignored)] == 0).all()
    with torch.no_grad():
        again = linear_cross_entropy(x_TH, head_VH, targets_T, scaling=scaling, ignore=IGNORE)
    assert torch.equal(again, loss)


def test_reference() -> None:
    """The readable one agrees as well."""
    x_TH, head_VH, targets_T = example(torch.float64)
    loss = linear_cross_entropy_reference(x_TH, head_VH, targets_T, scaling=3.0, ignore=IGNORE)
    torch.testing.assert_close(loss.detach(), exact(targets_T, 3.0, 1.0)[0])


def test_all_ignored() -> None:
    """Nothing to predict: exactly 0, and no gradient; not NaN."""
    x_TH, head_VH, targets_T = example(torch.float32)
    loss = linear_cross_entropy(x_TH, head_VH, torch.full_like(targets_T, IGNORE), scaling=1.0, ignore=IGNORE)
    loss.backward()
    assert loss == 0
    assert (x_TH.grad == 0).all()
    assert (head_VH.grad == 0).all()


def test_large_logits() -> None:
    """A target that has no chance costs its logit, not infinity."""
    x_TH = torch.full((1, 1), 500.0, requires_grad=True)
    head_VH = torch.tensor([[1.0], [-1.0]])
    loss = linear_cross_entropy(x_TH, head_VH, torch.tensor([1]), scaling=1.0, ignore=IGNORE)
    assert loss.item() == 1000.0
    loss.backward()
    assert x_TH.grad.item() == 2.0


def test_uniform_is_log_of_vocabulary() -> None:
    """Zero states: ln V a token."""
    x_TH, head_VH, targets_T = example(torch.float32)
    loss = linear_cross_entropy(0 * x_TH, head_VH, targets_T, scaling=1.0, ignore=IGNORE)
    torch.testing.assert_close(loss, torch.tensor(TOKENS * math.log(VOCABULARY)))


@pytest.mark.parametrize("frozen", ["x", "head"])
def test_one_side_frozen(frozen: str) -> None:
    """Gradients are made for what learns alone."""
    x_TH, head_VH, targets_T = example(torch.float64)
    (x_TH if frozen == "x" else head_VH).requires_grad_(False)
    linear_cross_entropy(x_TH, head_VH, targets_T, scaling=2.0, ignore=IGNORE).backward()
    _, x_grad, head_grad = exact(targets_T, 2.0, 1.0)
    learnt, right = (head_VH, head_grad) if frozen == "x" else (x_TH, x_grad)
    torch.testing.assert_close(learnt.grad, right)


def test_sums_over_chunks_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """2000 equal tokens in bf16: sums taken in bf16 would stop growing after a few hundred."""
    monkeypatch.setattr(cross_entropy, "MAX_CHUNK_ROWS", 1)
    x_TH = torch.ones(2000, 8, dtype=torch.bfloat16)
    head_VH = torch.zeros(4, 8, dtype=torch.bfloat16, requires_grad=True)
    targets_T = torch.zeros(2000, dtype=torch.long)
    loss = linear_cross_entropy(x_TH, head_VH, targets_T, scaling=1.0, ignore=IGNORE)
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(2000 * math.log(4)), rtol=1e-5, atol=0)
    right_V = torch.tensor([-1500.0, 500.0, 500.0, 500.0])
    torch.testing.assert_close(head_VH.grad.float(), right_V[:, None].expand(4, 8), rtol=0.005, atol=0)


def test_second_backward_is_refused() -> None:
    """The gradients were scaled in place: silence would be a wrong number."""
    x_TH, head_VH, targets_T = example(torch.float32)
    loss = linear_cross_entropy(x_TH, head_VH, targets_T, scaling=1.0, ignore=IGNORE)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass"):
        loss.backward()


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation gives."""

    largest_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and look at its results."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.largest_bytes = max(self.largest_bytes, leaf.untyped_storage().nbytes())
        return result


def test_logits_of_a_batch_never_exist() -> None:
    """At the paper's vocabulary a chunk of logits stays within 64 MiB, where the batch's take 96 MiB."""
    x_TH = torch.randn(512, 4, requires_grad=True)
    head_VH = torch.randn(49152, 4, requires_grad=True)
    with LargestTensor() as seen:
        linear_cross_entropy(x_TH, head_VH, torch.arange(512), scaling=1.0, ignore=IGNORE).backward()
    assert 32 * 2**20 < seen.largest_bytes <= 64 * 2**20
