"""Multipliers that are wrong by a constant, which no width can see: transformers' Granite can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.shape import ModelShape

WRONG = {
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "attention_multiplier": 0.25,  # 1/sqrt(head_dim) in place of 1/head_dim
    "logits_scaling": 1.0,
}


def paper_shape(make_shape: Callable[..., ModelShape]) -> ModelShape:
    """The paper's four multipliers, at a width that is twice the base."""
    return make_shape(
        hidden_size=64,
        num_heads=4,
        embedding_multiplier=12.0,
        residual_multiplier=0.22,
        attention_multiplier=1 / 16,
        logits_scaling=2.0,
    )


def theirs(decoder: Decoder) -> nn.Module:
    """transformers' model with the decoder's weights and multipliers."""
    from transformers import GraniteConfig, GraniteForCausalLM

    shape = decoder.shape
    model = GraniteForCausalLM(
        GraniteConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_kv_heads,
            rms_norm_eps=shape.rms_norm_eps,
            tie_word_embeddings=True,
            pad_token_id=None,
            **{name: getattr(shape, name) for name in WRONG},
        )
    )
    state = {"model.embed_tokens.weight": decoder.embedding, "model.norm.weight": decoder.norm.weight}
    for number in range(shape.num_layers):
        weights = dict(decoder.layers[number].named_parameters())
        heads = [num * shape.head_dim for num in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        layer = f"model.layers.{number}."
        for letter, part in zip("qkv", weights["mixer.qkv.weight"].split(heads), strict=True):
            state[f"{layer}self_attn.{letter}_proj.weight"] = part
        for letter, part in zip(("gate", "up"), weights["channel.gate_up.weight"].chunk(2), strict=True):
            state[f"{layer}mlp.{letter}_proj.weight"] = part
        state[f"{layer}self_attn.o_proj.weight"] = weights["mixer.output.weight"]
        state[f"{layer}mlp.down_proj.weight"] = weights["channel.down.weight"]
        state[f"{layer}input_layernorm.weight"] = weights["mixer_norm.weight"]
        state[f"{layer}post_attention_layernorm.weight"] = weights["channel_norm.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"}
    assert not unexpected
    return model


@torch.no_grad()
def distance(shape: ModelShape, reference: nn.Module, right: Decoder) -> float:
    """The largest difference of logits, relative to the largest logit, with the weights of `right`."""
    tokens_BS = torch.randint(shape.vocab_size, (2, 12), generator=torch.Generator().manual_seed(0))
    decoder = Decoder(shape)
    decoder.load_state_dict(right.state_dict())
    ours: Tensor = decoder.logits(tokens_BS.flatten(), documents(tokens_BS, None))
    wanted = reference(input_ids=tokens_BS).logits.flatten(0, 1)
    return float((ours - wanted).abs().max() / wanted.abs().max())


def test_the_right_constants_agree(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]
) -> None:
    right = make_decoder(paper_shape(make_shape))
    assert distance(right.shape, theirs(right), right) < 1e-5


@pytest.mark.parametrize("multiplier", WRONG)
def test_a_wrong_constant_is_seen(
    make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder], multiplier: str
) -> None:
    right = make_decoder(paper_shape(make_shape))
    wrong = replace(right.shape, **{multiplier: WRONG[multiplier]})
    assert distance(wrong, theirs(right), right) > 1e-3
