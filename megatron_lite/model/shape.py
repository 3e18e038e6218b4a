"""The shape of a decoder with every choice made: what the modules, the plan and the export read."""

from __future__ import annotations

from dataclasses import dataclass

from megatron_lite.model.options import ModelOptions
from megatron_lite.mup.options import MupOptions


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder's architecture, multipliers included; nothing is left to be derived from elsewhere."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    intermediate_size: int
    num_experts: int | None  # None: a dense MLP
    experts_per_token: int | None
    vocab_size: int
    max_positions: int
    rope_theta: float
    rms_norm_eps: float
    tied: bool
    embedding_multiplier: float
    residual_multiplier: float
    attention_multiplier: float
    logits_scaling: float

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.hidden_size // self.num_heads


def resolve_shape(model: ModelOptions, mup: MupOptions, vocab_size: int) -> ModelShape:
    """The shape that `model` asks for, absent multipliers taken from `mup` (arXiv 2408.13359, table 1).

    With `mup.enabled: false` absent multipliers are those of the standard parametrisation:
    1, 1, 1/sqrt(head_dim), 1.
    """
    head_dim = model.hidden_size // model.num_attention_heads
    width_ratio = model.hidden_size / mup.base_width
    standard = (1.0, 1.0, head_dim**-0.5, 1.0)
    embedding, residual, attention, logits = (
        (12.0, 0.22, 1 / head_dim, width_ratio) if mup.enabled else standard
    )

    def given(value: float | None, otherwise: float) -> float:
        return otherwise if value is None else value

    return ModelShape(
        hidden_size=model.hidden_size,
        num_layers=model.num_hidden_layers,
        num_heads=model.num_attention_heads,
        num_kv_heads=model.num_key_value_heads or model.num_attention_heads,
        intermediate_size=model.intermediate_size,
        num_experts=model.num_local_experts,
        experts_per_token=model.num_experts_per_tok,
        vocab_size=model.vocab_size or vocab_size,
        max_positions=model.max_position_embeddings,
        rope_theta=model.rope_theta,
        rms_norm_eps=model.rms_norm_eps,
        tied=model.tie_word_embeddings,
        embedding_multiplier=given(model.embedding_multiplier, embedding),
        residual_multiplier=given(model.residual_multiplier, residual),
        attention_multiplier=given(model.attention_multiplier, attention),
        logits_scaling=given(model.logits_scaling, logits),
    )
