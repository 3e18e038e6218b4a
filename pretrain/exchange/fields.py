"""Every field of their configs: reproduced, without effect on what is computed, or refused by name.

What neither list knows is refused, so a field that a later version adds is never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions
from pretrain.config.errors import describe
from pretrain.errors import UserError, nearest
from pretrain.exchange.config_json import classes
from pretrain.exchange.keys import KEYS

ROPE = ("rope_theta", "rope_parameters", "rope_scaling")

# field -> the values with which both compute the same
MUST_BE: Mapping[str, tuple[Any, ...]] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "hidden_act": ("silu",),
    "attention_dropout": (0, None),
    "partial_rotary_factor": (1, None),
    "sliding_window": (None,),
    "layer_types": (None,),
    "per_layer_config": (None, {}),
    "shared_intermediate_size": (0, None),
    "quantization_config": (None,),
    "auto_map": (None, {}),
    "is_encoder_decoder": (False, None),
    "add_cross_attention": (False, None),
    "cross_attention_hidden_size": (None,),
    "chunk_size_feed_forward": (0, None),
    "pruned_heads": ({}, None),
}
# training, labels, generation, storage: nothing that the logits of a text depend on
NO_EFFECT = frozenset(
    {
        *("_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_experts_implementation"),
        *("_name_or_path", "activation_function", "architectures", "attn_implementation", "bos_token_id"),
        *("decoder_start_token_id", "dtype", "eos_token_id", "experts_implementation", "finetuning_task"),
        *("id2label", "initializer_range", "is_decoder", "label2id", "model_type", "name_or_path"),
        *("num_labels", "output_attentions", "output_hidden_states", "output_router_logits"),
        *("pad_token_id", "prefix", "problem_type", "return_dict", "router_aux_loss_coef"),
        *("router_jitter_noise", "sep_token_id", "task_specific_params", "tf_legacy_loss"),
        *("tie_encoder_decoder", "tie_last_hidden_states", "tokenizer_class", "torch_dtype", "torchscript"),
        *("transformers_version", "use_bfloat16", "use_cache"),
    }
)
MAY_BE_IGNORED = ("attention_dropout",)  # with --ignore: it has no part in what the weights compute


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: is a {type(values).__name__}, not an object.")
    return values


def shape_of_config(path: Path, ignored: Collection[str] = ()) -> ModelShape:
    """The shape that a config.json describes; UserError names every field that cannot be reproduced."""
    raw = read_json(path)
    known = classes()
    if raw.get("model_type") not in known:
        hint = nearest(str(raw.get("model_type")), known)
        raise UserError(
            f"{path}: model_type: {raw.get('model_type')!r} is not one of {', '.join(known)}.{hint}"
        )
    defaults = known[raw["model_type"]]().to_dict()
    problems = [*_unknown_ignored(raw, ignored), *_problems(raw, defaults, ignored)]
    section = _model_section(raw, defaults)
    try:
        model = ModelOptions.model_validate(section)
    except ValidationError as error:
        problems += describe(error, ModelOptions)
    if problems:
        raise UserError(
            f"{path}: this model cannot be reproduced:\n" + "\n".join(f"  {line}" for line in problems)
        )
    assert model.vocab_size is not None
    return resolve_shape(model, MupOptions(), model.vocab_size)


def _problems(raw: Mapping[str, Any], defaults: Mapping[str, Any], ignored: Collection[str]) -> Iterator[str]:
    architectures = raw.get("architectures") or []
    causal = {"granite": "GraniteForCausalLM", "granitemoe": "GraniteMoeForCausalLM"}[raw["model_type"]]
    if architectures and architectures != [causal]:
        yield f"architectures: {architectures}, only ['{causal}'] is a model of ours"
    for field in (*KEYS.values(), "hidden_act"):
        if field in raw and raw[field] is None and defaults.get(field) is not None:
            yield f"{field}: null has no meaning here"
    for field, allowed in {**MUST_BE, "head_dim": (_head_dim(raw, defaults), None)}.items():
        if field in raw and raw[field] not in allowed and field not in ignored:
            yield f"{field}: {json.dumps(raw[field])}, only {json.dumps(allowed[0])} is reproduced" + _advice(
                field
            )
    yield from _rope_problems(raw)
    for field in sorted(
        raw.keys() - KEYS.values() - MUST_BE.keys() - NO_EFFECT - _generation() - {*ROPE, "head_dim"}
    ):
        if raw[field] is not None and field not in ignored:
            hint = nearest(field, defaults) or f" If it has no effect, say so: --ignore {field}"
            yield f"{field}: {json.dumps(raw[field])[:60]}, a field unknown to {raw['model_type']}.{hint}"


def _rope_problems(raw: Mapping[str, Any]) -> Iterator[str]:
    """Rotary positions are reproduced in their plain form only."""
    for field in ("rope_scaling", "rope_parameters"):
        rope = raw.get(field) or {}
        if not isinstance(rope, dict):
            yield f"{field}: {json.dumps(rope)[:60]} should be an object"
            continue
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            yield f'{field}: rope_type {json.dumps(kind)}, only "default" is reproduced'
        for key in sorted(rope.keys() - {"rope_type", "type", "rope_theta"}):
            if not (key == "partial_rotary_factor" and rope[key] in (1, None)):
                yield f"{field}.{key}: {json.dumps(rope[key])[:60]}, only the default rope is reproduced"
    thetas = [place["rope_theta"] for place in _rope_places(raw) if "rope_theta" in place]
    if any(theta != thetas[0] for theta in thetas):
        yield f"rope_theta: {thetas} in different places; which one counts depends on transformers' version"


def _rope_places(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nested = (raw.get("rope_scaling") or {}, raw.get("rope_parameters") or {})
    return [raw, *(place for place in nested if isinstance(place, dict))]


def _model_section(raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    section = {key: raw.get(key, defaults.get(key)) for key in KEYS.values() if key != "rope_theta"}
    thetas = [place["rope_theta"] for place in _rope_places(raw) if "rope_theta" in place]
    section["rope_theta"] = thetas[0] if thetas else defaults["rope_parameters"]["rope_theta"]
    # absent: as many as query heads; the class shows the default of its own number of them
    section["num_key_value_heads"] = raw.get("num_key_value_heads")
    return {"architecture": raw["model_type"]} | section


def _head_dim(raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    hidden, heads = (raw.get(key, defaults[key]) for key in ("hidden_size", "num_attention_heads"))
    whole = isinstance(hidden, int) and isinstance(heads, int) and heads > 0 and hidden % heads == 0
    return hidden // heads if whole else None


def _unknown_ignored(raw: Mapping[str, Any], ignored: Collection[str]) -> Iterator[str]:
    decided = (MUST_BE.keys() | set(KEYS.values()) | {*ROPE, "head_dim"}) - {*MAY_BE_IGNORED}
    for field in sorted(ignored):
        if field not in raw:
            yield f"--ignore {field}: config.json has no such field.{nearest(field, raw)}"
        elif field in decided:
            yield f"--ignore {field}: this field changes what the model computes"


def _advice(field: str) -> str:
    if field == "attention_dropout":
        return "; it is active in training alone: --ignore attention_dropout goes on without it"
    return ""


def _generation() -> set[str]:
    """Older versions kept the options of `generate` in config.json."""
    from transformers import GenerationConfig

    return {name for name in vars(GenerationConfig()) if not name.startswith("_")}
