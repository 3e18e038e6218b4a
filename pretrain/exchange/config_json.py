"""config.json and generation_config.json, written by transformers' own classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from megatron_lite.model.shape import ModelShape
from pretrain.exchange.keys import architecture, model_section

TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def classes() -> dict[str, Any]:
    """Their config classes by `model_type`. The only import of transformers' models."""
    from transformers import GraniteConfig, GraniteMoeConfig

    return {"granite": GraniteConfig, "granitemoe": GraniteMoeConfig}


def config_json(shape: ModelShape, token_ids: Mapping[str, Any], dtype: str) -> str:
    """config.json of a model of this shape, that transformers 4.45 and later read as the same model."""
    section = model_section(shape)
    name, theta = section.pop("architecture"), section.pop("rope_theta")
    config = classes()[architecture(shape)](
        **section,
        **{key: token_ids.get(key) for key in TOKEN_IDS},
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        architectures=["GraniteForCausalLM" if name == "granite" else "GraniteMoeForCausalLM"],
        dtype=TORCH_NAMES[dtype],
    )
    values = json.loads(config.to_json_string())
    # versions before 5 read these names, and would take their defaults without them
    values |= {"rope_theta": theta, "torch_dtype": TORCH_NAMES[dtype]}
    return json.dumps(dict(sorted(values.items())), indent=2) + "\n"


def generation_config_json(token_ids: Mapping[str, Any]) -> str:
    """generation_config.json: where a text ends, and that a batch of texts is padded with the same."""
    from transformers import GenerationConfig

    end = token_ids.get("eos_token_id")
    padding = token_ids.get("pad_token_id")
    if padding is None:
        padding = end[0] if isinstance(end, list) else end
    config = GenerationConfig(
        bos_token_id=token_ids.get("bos_token_id"), eos_token_id=end, pad_token_id=padding
    )
    return config.to_json_string()
