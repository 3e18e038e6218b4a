"""The decoder computes what transformers' Granite and GraniteMoe compute on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.loss import IGNORE, balance_loss
from megatron_lite.model.shape import ModelShape

BATCH, LENGTH = 3, 20


def their_model(shape: ModelShape, dtype: torch.dtype) -> nn.Module:
    """The class of transformers that has this shape."""
    from transformers import GraniteConfig, GraniteForCausalLM, GraniteMoeConfig, GraniteMoeForCausalLM

    common = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": shape.tied,
        "embedding_multiplier": shape.embedding_multiplier,
        "residual_multiplier": shape.residual_multiplier,
        "attention_multiplier": shape.attention_multiplier,
        "logits_scaling": shape.logits_scaling,
        "pad_token_id": None,
        "attn_implementation": "eager",
    }
    if shape.num_experts is None:
        return GraniteForCausalLM(GraniteConfig(**common)).to(dtype)
    experts = {"num_local_experts": shape.num_experts, "num_experts_per_tok": shape.experts_per_token}
    return GraniteMoeForCausalLM(GraniteMoeConfig(**common, **experts)).to(dtype)


def in_their_names(tensors: Mapping[str, Tensor], shape: ModelShape) -> Iterator[tuple[str, Tensor]]:
    """Our weights, or their gradients, under the names of transformers' classes."""
    yield "model.embed_tokens.weight", tensors["embedding"]
    yield "model.norm.weight", tensors["norm.weight"]
    if not shape.tied:
        yield "lm_head.weight", tensors["head"]
    for layer in range(shape.num_layers):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        heads = [shape.num_heads, shape.num_kv_heads, shape.num_kv_heads]
        parts = tensors[ours + "mixer.qkv.weight"].split([num * shape.head_dim for num in heads])
        for letter, part in zip("qkv", parts, strict=True):
            yield f"{theirs}self_attn.{letter}_proj.weight", part
        yield theirs + "self_attn.o_proj.weight", tensors[ours + "mixer.output.weight"]
        yield theirs + "input_layernorm.weight", tensors[ours + "mixer_norm.weight"]
        yield theirs + "post_attention_layernorm.weight", tensors[ours + "channel_norm.weight"]
        if shape.num_experts is None:
            gate, up = tensors[ours + "channel.gate_up.weight"].chunk(2)
            yield theirs + "mlp.gate_proj.weight", gate
            yield theirs + "mlp.up_proj.weight", up
            yield theirs + "mlp.down_proj.weight", tensors[ours + "channel.down.weight"]
        else:
            moe = theirs + "block_sparse_moe."
            yield moe + "router.weight", tensors[ours + "channel.router.weight"]
            yield moe + "experts.gate_up_proj", tensors[ours + "channel.experts.gate_up"]
            yield moe + "experts.down_proj", tensors[ours + "channel.experts.down"]


def with_our_weights(decoder: Decoder, dtype: torch.dtype) -> nn.Module:
    """transformers' model with the decoder's weights; nothing may be left over on either side."""
    model = their_model(decoder.shape, dtype)
    state = dict(in_their_names(dict(decoder.named_parameters()), decoder.shape))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= ({"lm_head.weight"} if decoder.shape.tied else set())
    assert not unexpected
    return model


def assert_close(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    """Within 1e-5 of the largest value."""
    assert ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), name


DENSE = {"num_experts": None}
SPARSE = {"num_experts": 8, "experts_per_token": 3, "intermediate_size": 24}
MANY_HEADS = {"num_kv_heads": 4}
ONE_KV_HEAD = {"num_kv_heads": 1, "rope_theta": 500.0, "rms_norm_eps": 1e-3}
UNTIED = {"tied": False}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("channel", [DENSE, SPARSE], ids=["dense", "moe"])
@pytest.mark.parametrize(
    "changes", [{}, MANY_HEADS, ONE_KV_HEAD, UNTIED], ids=["grouped", "full", "one_kv_head", "untied"]
)
def test_loss_logits_gradients(
    make_shape: Callable[..., ModelShape],
    make_decoder: Callable[..., Decoder],
    changes: dict[str, object],
    channel: dict[str, object],
    dtype: torch.dtype,
) -> None:
    """Loss, logits and the gradient of every weight, on sequences with ignored targets."""
    torch.manual_seed(1)
    shape = make_shape(**channel, **changes)
    ours = make_decoder(shape, dtype)
    theirs = with_our_weights(ours, dtype)
    if shape.num_experts:
        theirs.set_experts_implementation("eager")  # the only one that takes fp64
    tokens_BS = torch.randint(shape.vocab_size, (BATCH, LENGTH))
    targets_T = torch.randint(shape.vocab_size, (BATCH * LENGTH,))
    targets_T[::7] = IGNORE
    where = documents(tokens_BS, None)

    their_logits_TV = theirs(tokens_BS).logits.flatten(0, 1)
    their_loss = F.cross_entropy(their_logits_TV, targets_T, ignore_index=IGNORE, reduction="sum")
    our_loss = ours(tokens_BS.flatten(), targets_T, where)["loss_sum"]
    assert_close(ours.logits(tokens_BS.flatten(), where), their_logits_TV)
    assert_close(our_loss, their_loss)

    their_loss.backward()
    our_loss.backward()
    gradients = {name: weight.grad for name, weight in ours.named_parameters()}
    their_weights = dict(theirs.named_parameters())
    for name, gradient in in_their_names(gradients, shape):
        assert_close(gradient, their_weights[name].grad, name)


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_experts_implementations(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder], implementation: str
) -> None:
    """Their several ways of running experts agree with ours, so it is no accident of one of them."""
    torch.manual_seed(2)
    ours = make_decoder(make_shape(**SPARSE))
    theirs = with_our_weights(ours, torch.float32)
    theirs.set_experts_implementation(implementation)
    tokens_BS = torch.randint(96, (BATCH, LENGTH))
    logits_TV = ours.logits(tokens_BS.flatten(), documents(tokens_BS, None))
    assert_close(logits_TV, theirs(tokens_BS).logits.flatten(0, 1))


def test_balance_loss(make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]) -> None:
    """For one layer, their load-balancing loss is ours times the experts a token (their f adds up to k)."""
    from transformers.models.granitemoe.modeling_granitemoe import load_balancing_loss_func

    torch.manual_seed(3)
    ours = make_decoder(make_shape(**SPARSE, num_layers=1))
    theirs = with_our_weights(ours, torch.float32)
    tokens_BS = torch.randint(96, (BATCH, LENGTH))
    sums = ours(tokens_BS.flatten(), tokens_BS.flatten(), documents(tokens_BS, None))
    router_logits = theirs(tokens_BS, output_router_logits=True).router_logits
    fractions_LE = sums["expert_counts_LE"] / sums["expert_counts_LE"].sum()
    expected = load_balancing_loss_func(router_logits, num_experts=8, top_k=3)
    assert_close(3 * balance_loss(fractions_LE, sums["probability_sums_LE"], BATCH * LENGTH), expected)
