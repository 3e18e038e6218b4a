"""litgpt's GPT as the same function: what it has no option for is folded into the weights.

Its head is a matrix of its own, so it starts with the same loss and learns more parameters. It takes part
where it is installed, which changes nothing else of the environment with

    pip install --no-deps litgpt lightning lightning-utilities pytorch-lightning torchmetrics jsonargparse
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megatron_lite.model.loss import IGNORE
from megatron_lite.model.shape import ModelShape
from speed.bare import Step, bare_step
from speed.cases import Setup
from speed.contenders import UnavailableError
from speed.ours import targets


def bare(setup: Setup) -> Step:
    """Its model, the loss over all logits in fp32, AdamW on its weights."""
    model = _model(setup)
    model.load_state_dict(dict(_in_their_names(setup.weights(), setup.shape)))
    model = model.to(setup.device).train()
    run = torch.compile(model, dynamic=False) if setup.compiled else model

    def loss_of(tokens_BS: Tensor) -> Tensor:
        logits_TV = run(tokens_BS).flatten(0, 1).float()
        return F.cross_entropy(logits_TV, targets(tokens_BS).flatten(), ignore_index=IGNORE)

    return bare_step(model, loss_of, setup)


def _model(setup: Setup) -> nn.Module:
    try:
        from litgpt.config import Config
        from litgpt.model import GPT
    except ImportError as error:
        raise UnavailableError(f"litgpt is not installed here ({error})") from None
    shape = setup.shape
    moe = {"mlp_class_name": "LLaMAMoE", "n_expert": shape.num_experts or 0}
    moe |= {
        "n_expert_per_token": shape.experts_per_token or 0,
        "moe_intermediate_size": shape.intermediate_size,
    }
    config = Config(
        block_size=shape.max_positions,
        n_layer=shape.num_layers,
        n_embd=shape.hidden_size,
        vocab_size=shape.vocab_size,
        padded_vocab_size=shape.vocab_size,
        norm_class_name="RMSNorm",
        norm_eps=shape.rms_norm_eps,
        parallel_residual=False,
        n_head=shape.num_heads,
        n_query_groups=shape.num_kv_heads,
        attention_scores_scalar=round(shape.attention_multiplier**-2),  # it divides by the root
        rope_base=int(shape.rope_theta),
        rotary_percentage=1.0,
        intermediate_size=shape.intermediate_size,
        bias=False,
        **({"mlp_class_name": "LLaMAMLP"} if shape.num_experts is None else moe),
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(setup.dtype)
    try:
        return GPT(config)
    finally:
        torch.set_default_dtype(before)


def _in_their_names(weights: Mapping[str, Tensor], shape: ModelShape) -> Iterator[tuple[str, Tensor]]:
    yield "transformer.wte.weight", weights["embedding"] * shape.embedding_multiplier
    yield "lm_head.weight", weights["embedding"] / shape.logits_scaling
    yield "transformer.ln_f.weight", weights["norm.weight"]
    branch = shape.residual_multiplier
    for layer in range(shape.num_layers):
        ours, theirs = f"layers.{layer}.", f"transformer.h.{layer}."
        yield theirs + "norm_1.weight", weights[ours + "mixer_norm.weight"]
        yield theirs + "attn.qkv.weight", weights[ours + "mixer.qkv.weight"]
        yield theirs + "attn.proj.weight", weights[ours + "mixer.output.weight"] * branch
        yield theirs + "norm_2.weight", weights[ours + "channel_norm.weight"]
        channel = ours + "channel."
        if shape.num_experts is None:
            gate_up, down = weights[channel + "gate_up.weight"], weights[channel + "down.weight"]
            yield from _swiglu(theirs + "mlp.", gate_up, down * branch)
            continue
        yield theirs + "mlp.gate.weight", weights[channel + "router.weight"]
        pairs = zip(weights[channel + "experts.gate_up"], weights[channel + "experts.down"], strict=True)
        for expert, (gate_up, down) in enumerate(pairs):
            yield from _swiglu(f"{theirs}mlp.experts.{expert}.", gate_up, down * branch)


def _swiglu(prefix: str, gate_up: Tensor, down: Tensor) -> Iterator[tuple[str, Tensor]]:
    gate, up = gate_up.chunk(2)
    yield prefix + "fc_1.weight", gate
    yield prefix + "fc_2.weight", up
    yield prefix + "proj.weight", down
