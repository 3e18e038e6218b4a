"""What cannot be reproduced is refused by name, and what is passed over has no effect."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.cli import main
from pretrain.errors import UserError
from pretrain.exchange.config_json import classes
from pretrain.exchange.fields import MAY_BE_IGNORED, MUST_BE, NO_EFFECT, ROPE, shape_of_config
from pretrain.exchange.keys import KEYS

ARCHITECTURES = ("granite", "granitemoe")

REFUSED: list[tuple[str, Any]] = [
    ("attention_bias", True),
    ("mlp_bias", True),
    ("hidden_act", "gelu"),
    ("hidden_act", "relu"),
    ("hidden_act", None),
    ("attention_dropout", 0.1),
    ("attention_dropout", 1),
    ("rope_scaling", {"rope_type": "linear", "factor": 2.0}),
    ("rope_scaling", {"type": "dynamic", "factor": 2.0}),
    ("rope_scaling", "linear"),
    ("rope_parameters", {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0}),
    ("rope_parameters", {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    ("rope_theta", 123.0),  # beside another one in rope_parameters
    ("partial_rotary_factor", 0.5),
    ("head_dim", 4),
    ("shared_intermediate_size", 64),
    ("sliding_window", 128),
    ("layer_types", ["full_attention"]),
    ("per_layer_config", {"0": {"intermediate_size": 8}}),
    ("quantization_config", {"quant_method": "gptq"}),
    ("auto_map", {"AutoModelForCausalLM": "modeling.Other"}),
    ("is_encoder_decoder", True),
    ("add_cross_attention", True),
    ("cross_attention_hidden_size", 8),
    ("chunk_size_feed_forward", 2),
    ("pruned_heads", {"0": [1]}),
    ("architectures", ["GraniteModel"]),
    ("architectures", ["LlamaForCausalLM"]),
    ("model_type", "llama"),
    ("model_type", "granitemoeshared"),
    ("model_type", None),
    ("qk_norm", True),
    ("embedding_multipliers", 2.0),
    ("embedding_multiplier", None),
    ("attention_multiplier", None),
    ("residual_multiplier", 0.0),
    ("logits_scaling", -1.0),
    ("logits_scaling", "many"),
    ("vocab_size", None),
    ("vocab_size", 0),
    ("hidden_size", 17),
    ("hidden_size", None),
    ("num_hidden_layers", 0),
    ("num_attention_heads", 0),
    ("num_attention_heads", 5),
    ("num_key_value_heads", 3),
    ("intermediate_size", 0),
    ("rms_norm_eps", 0.0),
    ("rms_norm_eps", None),
    ("max_position_embeddings", None),
    ("tie_word_embeddings", 7),
]
MOE_REFUSED: list[tuple[str, Any]] = [
    ("num_local_experts", None),
    ("num_local_experts", 0),
    ("num_experts_per_tok", 99),
    ("num_experts_per_tok", None),
    ("rope_parameters", {"rope_type": "llama3", "rope_theta": 1.0}),
]


@pytest.fixture
def folder(tmp_path: Path, their_model: Callable[..., Any]) -> Callable[..., Path]:
    """A folder of theirs whose config.json was changed by hand."""

    def make(architecture: str, name: str = "theirs", **changes: Any) -> Path:
        model = their_model(0, architecture, hidden_size=32, num_attention_heads=4, num_key_value_heads=2)
        model.save_pretrained(tmp_path / name)
        path = tmp_path / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return tmp_path / name

    return make


def refused(folder: Path, out: Path, run_import: Callable[..., Any], **options: Any) -> str:
    """The message; nothing may be written."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(UserError) as caught:
        run_import(folder, out, **options)
    assert sorted(out.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "field", "value"),
    [
        *(("granite", *case) for case in REFUSED),
        *(("granitemoe", *case) for case in REFUSED + MOE_REFUSED),
        ("granite", "num_local_experts", 4),
    ],
    ids=lambda value: str(value)[:24],
)
def test_by_the_name_of_the_field(folder, tmp_path, run_import, architecture, field, value):
    message = refused(folder(architecture, **{field: value}), tmp_path / "out", run_import)
    assert "config.json" in message
    assert field in message.split("config.json", 1)[1]


def test_every_problem_in_one_message(folder, tmp_path, run_import):
    wrong = {"attention_bias": True, "hidden_act": "gelu", "logits_scaling": 0, "new_thing": 1}
    message = refused(folder("granite", **wrong), tmp_path / "out", run_import)
    assert all(name in message for name in wrong)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_field_of_the_class_is_decided_about(architecture, tmp_path):
    """So a version that adds one fails here, and not in somebody's model."""
    fields = classes()[architecture]().to_dict()
    assert fields.keys() <= {*KEYS.values(), *ROPE, *MUST_BE, *NO_EFFECT}
    assert not NO_EFFECT & {*KEYS.values(), *ROPE, *MUST_BE}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    shape = shape_of_config(tmp_path / "config.json")
    assert (shape.hidden_size, shape.num_layers, shape.max_positions) == (4096, 32, 2048)  # their defaults
    assert shape.attention_multiplier == 1.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_absent_fields_are_the_defaults_of_the_class(architecture, tmp_path):
    default = classes()[architecture]()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": architecture, "num_attention_heads": 16}))
    shape = shape_of_config(tmp_path / "config.json")
    for field, key in KEYS.items():
        expected = {"num_attention_heads": 16, "num_key_value_heads": 16, "rope_theta": 10000.0}.get(
            key, getattr(default, key, None)
        )
        assert getattr(shape, field) == expected, key


CHANGED = {
    "initializer_range": 0.5,
    "use_cache": False,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 5,
    "router_aux_loss_coef": 0.7,
    "output_router_logits": True,
    "output_hidden_states": True,
    "id2label": {"0": "a"},
    "tie_last_hidden_states": True,
    "activation_function": "gelu",
    "router_jitter_noise": 0.4,
    "is_decoder": True,
    "torchscript": True,
    "gradient_checkpointing": True,
    "prefix": "x",
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("field", sorted(CHANGED.keys() & NO_EFFECT))
def test_a_field_that_is_passed_over_changes_no_logit_of_theirs(their_model, architecture, field):
    base, changed = their_model(1, architecture), their_model(1, architecture, **{field: CHANGED[field]})
    changed.load_state_dict(base.state_dict())
    tokens = torch.arange(24).view(2, 12)  # the padding token among them
    with torch.no_grad():
        assert torch.equal(base(tokens).logits, changed(tokens).logits)


def test_generation_options_of_old_versions_are_passed_over(folder, tmp_path, run_import):
    old = {
        "temperature": 0.7,
        "max_length": 99,
        "top_p": 0.9,
        "torch_dtype": "float32",
        "_name_or_path": "a/b",
    }
    run_import(folder("granite", **old), tmp_path / "out")


@pytest.mark.parametrize("field", [*MAY_BE_IGNORED, "new_thing"])
def test_ignoring_a_field_is_said_and_recorded(folder, tmp_path, run_import, field):
    theirs = folder("granite", **{field: 0.1})
    assert f"--ignore {field}" in refused(theirs, tmp_path / "out", run_import)
    run_import(theirs, tmp_path / "out", ignored=[field])
    state = json.loads((tmp_path / "out" / "state.json").read_text())
    assert state["imported"]["ignored"] == [field]


@pytest.mark.parametrize("field", ["attention_bias", "hidden_size", "rope_scaling", "head_dim", "absent"])
def test_what_matters_cannot_be_ignored(folder, tmp_path, run_import, field):
    changes = {} if field == "absent" else {field: True}
    message = refused(folder("granite", **changes), tmp_path / "out", run_import, ignored=[field])
    assert f"--ignore {field}" in message


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


K_PROJ = "model.layers.0.self_attn.k_proj.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop(K_PROJ), f"{K_PROJ}: missing"),
        (lambda w: w.pop("model.norm.weight"), "model.norm.weight: missing"),
        (
            lambda w: w.update({K_PROJ: w[K_PROJ][:-1].clone()}),
            f"{K_PROJ}: is 15 x 32, config.json asks for 16 x 32",
        ),
        (lambda w: w.update({K_PROJ: w[K_PROJ].T.contiguous()}), f"{K_PROJ}: is 32 x 16"),
        (lambda w: w.update({K_PROJ: w[K_PROJ].double()}), f"{K_PROJ}: is F64, one of F32, BF16, F16"),
        (lambda w: w.update({K_PROJ: w[K_PROJ].to(torch.int8)}), f"{K_PROJ}: is I8"),
        (
            lambda w: w.update({K_PROJ.replace("weight", "bias"): torch.ones(16)}),
            "model.layers.0.self_attn.k_proj.bias: unexpected",
        ),
        (lambda w: w.update({"model.layers.9.mlp.up_proj.weight": torch.ones(2)}), "layers.9.mlp.up_proj"),
    ],
)
def test_by_the_name_of_the_tensor(folder, tmp_path, run_import, change, words):
    assert words in refused(change_weights(folder("granite"), change), tmp_path / "out", run_import)


def test_by_the_name_of_the_file(folder, tmp_path, run_import):
    theirs, out = folder("granite"), tmp_path / "out"
    weights = theirs / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    assert "model.safetensors" in refused(theirs, out, run_import)
    weights.unlink()
    assert "holds neither model.safetensors" in refused(theirs, out, run_import)
    (theirs / "pytorch_model.bin").write_bytes(b"pickle")
    message = refused(theirs, out, run_import)
    assert "run code" in message
    assert "save_pretrained" in message
    index = theirs / "model.safetensors.index.json"
    (tmp_path / "elsewhere.safetensors").write_bytes(content)
    for bad in ("absent.safetensors", "../elsewhere.safetensors"):
        index.write_text(json.dumps({"weight_map": {"model.norm.weight": bad}}))
        assert repr(bad) in refused(theirs, out, run_import)
    for bad in ("not json", "[]", "{}", '{"weight_map": {"a": 1}}'):
        index.write_text(bad)
        assert "index.json" in refused(theirs, out, run_import)
    (theirs / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON" in refused(theirs, out, run_import)
    assert "no such folder" in refused(tmp_path / "absent", out, run_import)


def test_the_command_exits_with_2(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["import", str(folder("granite", attention_bias=True)), str(tmp_path / "out")])
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert captured.out == ""
    assert "attention_bias: true, only false is reproduced" in captured.err
