"""transformers' Granite and GraniteMoe with our weights, at its best settings."""

from __future__ import annotations

import psutil
import torch
from torch import Tensor, nn

from megatron_lite.model.shape import ModelShape
from pretrain.exchange.config_json import classes
from pretrain.exchange.keys import architecture, model_section
from pretrain.exchange.names import links, on_disk
from pretrain.monitor.words import size
from speed.bare import Step, bare_step
from speed.cases import Setup
from speed.contenders import UnavailableError


def bare(setup: Setup, experts: str | None = None) -> Step:
    """One of its causal models, labels and loss its own, AdamW on its weights."""
    if experts == "batched_mm":
        _refuse_if_too_large(setup)
    model = _model(setup, experts)
    _set_weights(model, setup.weights(), setup.shape)
    model = model.to(setup.device).train()
    run = torch.compile(model, dynamic=False) if setup.compiled else model
    return bare_step(model, lambda tokens_BS: run(input_ids=tokens_BS, labels=tokens_BS).loss, setup)


def _model(setup: Setup, experts: str | None) -> nn.Module:
    """Made in the precision it trains in: a cast would round its rotary frequencies as well."""
    from transformers import AutoModelForCausalLM

    section = model_section(setup.shape)
    del section["architecture"]
    config = classes()[architecture(setup.shape)](
        rope_parameters={"rope_type": "default", "rope_theta": section.pop("rope_theta")},
        pad_token_id=None,
        use_cache=False,  # of keys and values, which training has no use for
        **section,
    )
    options = {} if experts is None else {"experts_implementation": experts}
    return AutoModelForCausalLM.from_config(config, dtype=setup.dtype, attn_implementation="sdpa", **options)


def _set_weights(model: nn.Module, weights: dict[str, Tensor], shape: ModelShape) -> None:
    """Every parameter of the model from ours; a tied head is the embedding and not among them."""
    theirs = {
        part.name: tensor
        for link in links(shape)
        for part, tensor in zip(link.parts, weights[link.name].split(link.rows), strict=True)
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(theirs.pop(on_disk(name)))
    assert not theirs, f"without a place there: {sorted(theirs)}"


def _refuse_if_too_large(setup: Setup) -> None:
    """Its batched product copies an expert's matrices for every token that uses it, and keeps them all."""
    shape = setup.shape
    assert shape.experts_per_token is not None
    rows = setup.config.batch.tokens * shape.experts_per_token
    copies = rows * 3 * shape.hidden_size * shape.intermediate_size * shape.num_layers * setup.dtype.itemsize
    on_gpu = setup.device.type == "cuda"
    free = torch.cuda.mem_get_info(setup.device)[0] if on_gpu else psutil.virtual_memory().available
    if copies > 0.8 * free:
        raise UnavailableError(
            f"it copies an expert's matrices for each token: {size(copies)}, and {size(free)} are free"
        )
