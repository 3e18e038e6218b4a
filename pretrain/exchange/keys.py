"""What the fields of a shape are called in a config of ours and of transformers, which agree."""

from __future__ import annotations

from collections.abc import Mapping

from megatron_lite.model.shape import ModelShape

KEYS: Mapping[str, str] = {
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
    "num_experts": "num_local_experts",
    "experts_per_token": "num_experts_per_tok",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "rms_norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
    "embedding_multiplier": "embedding_multiplier",
    "residual_multiplier": "residual_multiplier",
    "attention_multiplier": "attention_multiplier",
    "logits_scaling": "logits_scaling",
}


def architecture(shape: ModelShape) -> str:
    """The name of the architecture, `model_type` in their configs."""
    return "granite" if shape.num_experts is None else "granitemoe"


def model_section(shape: ModelShape) -> dict[str, object]:
    """The `model` section of a config of ours, with nothing left to be derived."""
    values = {key: getattr(shape, field) for field, key in KEYS.items()}
    return {"architecture": architecture(shape)} | {k: v for k, v in values.items() if v is not None}
