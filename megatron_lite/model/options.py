"""Options of the decoder, in the names of transformers' Granite configs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from megatron_lite.options import NonNegativeReal, Options, PositiveCount, PositiveReal


class ModelOptions(Options):
    """The shape of the decoder; what is absent among the multipliers comes from `mup`."""

    architecture: Literal["granite", "granitemoe"] = Field(
        "granite", description="granite (dense MLP) or granitemoe (top-k experts)"
    )
    hidden_size: PositiveCount = Field(description="width of the residual stream")
    num_hidden_layers: PositiveCount = Field(description="number of blocks")
    num_attention_heads: PositiveCount = Field(
        description="query heads; head_dim is their share of hidden_size"
    )
    num_key_value_heads: PositiveCount | None = Field(
        None, description="key and value heads; absent: as many as query heads"
    )
    intermediate_size: PositiveCount = Field(description="inner width of the SwiGLU, per expert for a MoE")
    num_local_experts: PositiveCount | None = Field(None, description="experts a layer (granitemoe only)")
    num_experts_per_tok: PositiveCount | None = Field(
        None, description="experts a token uses (granitemoe only)"
    )
    max_position_embeddings: PositiveCount = Field(4096, description="longest sequence the model is made for")
    rope_theta: PositiveReal = Field(10000.0, description="base of the rotary frequencies")
    rms_norm_eps: PositiveReal = Field(1e-6, description="added to the mean square under the root")
    tie_word_embeddings: bool = Field(True, description="one matrix for the embedding and the output head")
    vocab_size: PositiveCount | None = Field(
        None, description="rows of the embedding; absent: the tokenizer's"
    )
    embedding_multiplier: PositiveReal | None = Field(
        None, description="on the embedding's output; absent: mup's 12"
    )
    residual_multiplier: PositiveReal | None = Field(
        None, description="on each residual branch; absent: mup's 0.22"
    )
    attention_multiplier: PositiveReal | None = Field(
        None, description="on the attention logits; absent: mup's 1/head_dim"
    )
    logits_scaling: PositiveReal | None = Field(
        None, description="the output logits are divided by it; absent: mup's hidden_size/base_width"
    )
    router_aux_loss_coef: NonNegativeReal = Field(
        0.01, description="weight of the balance loss, summed over layers"
    )
    router_z_loss_coef: NonNegativeReal = Field(
        0.001, description="weight of the router's z-loss, summed over layers"
    )
    balance_scope: Literal["micro_batch", "lagged"] = Field(
        "micro_batch",
        description="expert use is counted over all ranks of one micro-step, or over the previous update",
    )

    @model_validator(mode="after")
    def _combinations(self) -> ModelOptions:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of "
                f"num_attention_heads={self.num_attention_heads}"
            )
        if (self.hidden_size // self.num_attention_heads) % 2:
            raise ValueError(
                f"head_dim = hidden_size/num_attention_heads = {self.hidden_size}/{self.num_attention_heads} "
                "is odd; rotary embeddings need an even one"
            )
        kv_heads = self.num_key_value_heads or self.num_attention_heads
        if self.num_attention_heads % kv_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads={kv_heads}"
            )
        if self.architecture == "granitemoe":
            self._check_experts()
        elif self.num_local_experts or self.num_experts_per_tok:
            raise ValueError("num_local_experts and num_experts_per_tok need architecture: granitemoe")
        return self

    def _check_experts(self) -> None:
        if self.num_local_experts is None or self.num_experts_per_tok is None:
            raise ValueError("architecture: granitemoe needs num_local_experts and num_experts_per_tok")
        if self.num_experts_per_tok > self.num_local_experts:
            raise ValueError(
                f"num_experts_per_tok={self.num_experts_per_tok} is more than "
                f"num_local_experts={self.num_local_experts}"
            )
