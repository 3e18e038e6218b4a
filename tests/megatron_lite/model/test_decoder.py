"""What the decoder does beyond parity: packing, statistics, recomputation, types."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.loss import IGNORE
from megatron_lite.model.shape import ModelShape

END = 0
LENGTHS = ((7, 1, 12), (20,), (3, 17))  # of documents, a row a sequence; all but the cut ones end with END


def packed_tokens() -> torch.Tensor:
    """Three sequences of 20 tokens that hold six documents."""
    generator = torch.Generator().manual_seed(4)
    tokens_BS = torch.randint(1, 96, (3, 20), generator=generator)
    for sequence, lengths in zip(tokens_BS, LENGTHS, strict=True):
        sequence[torch.tensor(lengths).cumsum(0)[:-1] - 1] = END
    return tokens_BS


@pytest.mark.parametrize("num_experts", [None, 8])
def test_packed_documents_equal_single_ones(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder], num_experts: int | None
) -> None:
    """Sums and gradients of a packed batch are those of its documents, one at a time."""
    model = make_decoder(make_shape(num_experts=num_experts), torch.float64)
    tokens_BS = packed_tokens()
    tokens_T, targets_T = tokens_BS.flatten(), tokens_BS.flatten().roll(-1)
    targets_T[tokens_T == END] = IGNORE
    packed = model(tokens_T, targets_T, documents(tokens_BS, END))
    packed["loss_sum"].backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}

    model.zero_grad()
    sums = dict.fromkeys(packed, torch.tensor(0.0, dtype=torch.float64))
    sizes = [length for lengths in LENGTHS for length in lengths]
    for tokens, targets in zip(tokens_T.split(sizes), targets_T.split(sizes), strict=True):
        single = model(tokens, targets, documents(tokens[None], None))
        single["loss_sum"].backward()
        sums = {name: sums[name] + value for name, value in single.items()}
    for name, value in packed.items():
        torch.testing.assert_close(value, sums[name], check_dtype=False, msg=name)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, msg=name)


def test_without_mask_a_document_sees_the_one_before(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]
) -> None:
    """The mask matters: only the first document of a sequence has the same logits without it."""
    model = make_decoder(make_shape())
    tokens_BS = packed_tokens()
    masked, whole = (model.logits(tokens_BS.flatten(), documents(tokens_BS, end)) for end in (END, None))
    same = torch.isclose(masked, whole, rtol=1e-4, atol=1e-4).all(-1)
    assert same[:7].all()
    assert not same[8:20].any()


def test_statistics_are_sums_over_tokens(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]
) -> None:
    """Counts add up to k a token, probabilities to 1 a token; both losses reach the router."""
    model = make_decoder(make_shape(num_experts=8, experts_per_token=3, num_layers=3))
    tokens_BS = packed_tokens()
    sums = model(tokens_BS.flatten(), tokens_BS.flatten(), documents(tokens_BS, END))
    assert set(sums) == {"loss_sum", "expert_counts_LE", "probability_sums_LE", "z_sums_L"}
    assert sums["expert_counts_LE"].shape == (3, 8)
    assert not sums["expert_counts_LE"].requires_grad
    assert (sums["expert_counts_LE"].sum(-1) == 60 * 3).all()
    torch.testing.assert_close(sums["probability_sums_LE"].sum(-1), torch.full((3,), 60.0))
    for name in ("probability_sums_LE", "z_sums_L"):
        (gradient,) = torch.autograd.grad(
            sums[name].square().sum(), model.layers[2].channel.router.weight, retain_graph=True
        )
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("num_experts", [None, 8])
def test_recomputation_changes_nothing(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder], num_experts: int | None
) -> None:
    """Blocks run twice, for their backward pass again: same sums, statistics counted once, same gradients."""
    tokens_BS = packed_tokens()
    results = []
    for recompute in (False, True):
        model = make_decoder(make_shape(num_experts=num_experts))
        for block in model.layers if recompute else []:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        sums = model(tokens_BS.flatten(), tokens_BS.flatten(), documents(tokens_BS, END))
        sum(value.sum() for value in sums.values()).backward()
        results.append((sums, {name: weight.grad for name, weight in model.named_parameters()}))
    (plain, plain_gradients), (again, again_gradients) = results
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(torch.equal(plain_gradients[name], again_gradients[name]) for name in plain_gradients)


@pytest.mark.parametrize("num_experts", [None, 8])
def test_bf16_is_close_to_fp32(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder], num_experts: int | None
) -> None:
    """In bf16 the loss keeps fp32 and its value, and every gradient is finite and points the same way."""
    tokens_BS = packed_tokens()
    tokens_T, where = tokens_BS.flatten(), documents(tokens_BS, END)
    # Weights that bf16 holds exactly, so that rounding in the computation alone is compared.
    narrow = make_decoder(make_shape(num_experts=num_experts), torch.bfloat16)
    wide = make_decoder(make_shape(num_experts=num_experts), torch.bfloat16).float()
    losses = [model(tokens_T, tokens_T.roll(-1), where)["loss_sum"] for model in (narrow, wide)]
    assert losses[0].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0)
    for loss in losses:
        loss.backward()
    for (name, ours), exact in zip(narrow.named_parameters(), wide.parameters(), strict=True):
        assert ours.grad.dtype == torch.bfloat16
        assert ours.grad.isfinite().all()
        cosine = torch.cosine_similarity(ours.grad.float().flatten(), exact.grad.flatten(), dim=0)
        assert cosine > 0.9, name


def test_no_gradient_no_logits(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]
) -> None:
    """Evaluation gives the loss of training."""
    model = make_decoder(make_shape(num_experts=8))
    tokens_BS = packed_tokens()
    arguments = tokens_BS.flatten(), tokens_BS.flatten().roll(-1), documents(tokens_BS, END)
    with torch.no_grad():
        without = model(*arguments)["loss_sum"]
    assert not without.requires_grad
    assert torch.equal(without, model(*arguments)["loss_sum"])


def test_nothing_but_parameters(make_shape: Callable[..., ModelShape]) -> None:
    """No buffers, which a cast or a partition could spoil; and the caller decides on type and place."""
    with torch.device("meta"):
        model = Decoder(make_shape(num_experts=8))
    assert not list(model.buffers())
    assert all(weight.is_meta for weight in model.parameters())
