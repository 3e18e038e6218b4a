"""Random Granite and GraniteMoe models there and back: the same bits, and transformers' own logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.load import Checkpoint
from pretrain.errors import UserError
from pretrain.exchange.names import RENAMED_IN_MEMORY
from pretrain.exchange.source import find_source

SEEDS = range(12)
BOTH = pytest.mark.parametrize("architecture", ["granite", "granitemoe"])


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(bits(tensor), bits(other[name])), name


def assert_same_logits(ours: Decoder, theirs: Any, dtype: torch.dtype) -> None:
    """Within 1e-5 of the largest; fp64 for experts, where a top-k that falls otherwise cannot hide."""
    tokens_BS = torch.randint(ours.shape.vocab_size, (2, 17), generator=torch.Generator().manual_seed(0))
    theirs = theirs.to(dtype)
    if dtype == torch.float64 and ours.shape.num_experts:
        theirs.set_experts_implementation("eager")  # the only one of theirs that takes fp64
    with torch.no_grad():
        expected = theirs(tokens_BS).logits.flatten(0, 1)
        got = ours.logits(tokens_BS.flatten(), documents(tokens_BS, None))
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def files_in(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_theirs_ours_theirs(
    tmp_path: Path, their_model, run_import, run_export, our_decoder, architecture: str, seed: int
) -> None:
    theirs = their_model(seed, architecture)
    theirs.save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "ours")
    dtype = torch.float32 if architecture == "granite" else torch.float64
    assert_same_logits(our_decoder(tmp_path / "ours", dtype), theirs, dtype)

    run_export(tmp_path / "ours", tmp_path / "back")
    assert_same_weights(files_in(tmp_path / "theirs"), files_in(tmp_path / "back"))
    before, after = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("theirs", "back"))
    theta = before["rope_parameters"]["rope_theta"]
    assert after == before | {"rope_theta": theta, "torch_dtype": "float32"}  # as older versions read it

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert type(loaded) is type(theirs)
    assert_same_weights({k: v.float() for k, v in theirs.state_dict().items()}, loaded.state_dict())
    assert_same_logits(our_decoder(tmp_path / "ours", dtype), loaded, dtype)


@BOTH
@pytest.mark.parametrize("tied", [True, False])
def test_ours_theirs_ours(
    tmp_path: Path,
    their_model,
    run_import,
    run_export,
    our_decoder,
    save_decoder,
    architecture: str,
    tied: bool,
) -> None:
    """With numbers that only exact bytes carry: signed zeros, the smallest, infinities."""
    their_model(3, architecture, tie_word_embeddings=tied).save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "start")
    decoder = our_decoder(tmp_path / "start")
    strange = torch.tensor([0.0, -0.0, 1e-45, -1e-45, torch.inf, 0.1])
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.view(-1)[: len(strange)] = strange[: weight.numel()]
    run_export(save_decoder(decoder, tmp_path / "run"), tmp_path / "out")
    made = run_import(tmp_path / "out", tmp_path / "again")
    assert made.shape == decoder.shape
    again = Checkpoint(tmp_path / "again")
    again.verify()
    assert_same_weights(
        {name: weight.detach() for name, weight in decoder.named_parameters()},
        {name: again.tensor("weight", name) for name, _ in decoder.named_parameters()},
    )


def test_documents_in_a_row_are_their_documents_one_at_a_time(
    tmp_path: Path, their_model, run_import, our_decoder
) -> None:
    theirs = their_model(1, "granite")
    theirs.save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "ours")
    end, lengths = 0, (5, 1, 9, 3)
    generator = torch.Generator().manual_seed(5)
    texts = [torch.randint(1, 40, (length,), generator=generator) for length in lengths]
    texts = [torch.cat([text, torch.tensor([end])]) for text in texts]
    row = torch.cat(texts)
    with torch.no_grad():
        expected = torch.cat([theirs(text[None]).logits[0] for text in texts])
        got = our_decoder(tmp_path / "ours").logits(row, documents(row[None], end))
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_read_exactly(
    tmp_path: Path, their_model, run_import, run_export, architecture: str, dtype: torch.dtype
) -> None:
    theirs = their_model(4, architecture).to(dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "ours")
    run_export(tmp_path / "ours", tmp_path / "back")
    expected = {name: tensor.float() for name, tensor in files_in(tmp_path / "theirs").items()}
    assert_same_weights(expected, files_in(tmp_path / "back"))


@BOTH
def test_bf16_is_the_nearest(tmp_path: Path, their_model, run_import, run_export, architecture: str) -> None:
    theirs = their_model(5, architecture)
    theirs.save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "ours")
    made = run_export(tmp_path / "ours", tmp_path / "back", dtype="bf16")
    expected = {name: tensor.bfloat16() for name, tensor in files_in(tmp_path / "theirs").items()}
    assert_same_weights(expected, files_in(tmp_path / "back"))
    assert made.weight_bytes == sum(2 * tensor.numel() for tensor in expected.values())
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "back").dtype == torch.bfloat16


@BOTH
def test_many_files(tmp_path: Path, their_model, run_import, run_export, architecture: str) -> None:
    """Theirs are read, ours are read by them, and no file is larger than asked but for a single tensor."""
    theirs, limit = (
        their_model(
            6, architecture, num_hidden_layers=3, hidden_size=48, num_attention_heads=4, num_key_value_heads=2
        ),
        20_000,
    )
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    run_import(tmp_path / "theirs", tmp_path / "ours")
    made = run_export(tmp_path / "ours", tmp_path / "back", max_shard_bytes=limit)
    assert len(made.weight_files) > 2
    index = json.loads((tmp_path / "back" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == made.weight_bytes
    assert set(index["weight_map"].values()) == set(made.weight_files)
    for name in made.weight_files:
        tensors = load_file(tmp_path / "back" / name)
        assert {key for key, file in index["weight_map"].items() if file == name} == tensors.keys()
        assert sum(4 * tensor.numel() for tensor in tensors.values()) <= limit or len(tensors) == 1
    assert_same_weights(files_in(tmp_path / "theirs"), files_in(tmp_path / "back"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert_same_weights(dict(theirs.state_dict()), dict(loaded.state_dict()))


def test_files_are_laid_out_as_safetensors_own(tmp_path: Path, their_model, run_import, run_export) -> None:
    their_model(0, "granitemoe").save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "ours")
    run_export(tmp_path / "ours", tmp_path / "back")
    raw = (tmp_path / "back" / "model.safetensors").read_bytes()
    header = int.from_bytes(raw[:8], "little")
    assert header % 8 == 0
    with safe_open(tmp_path / "back" / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_names_that_version_5_has_in_memory_are_read(tmp_path: Path, their_model, run_import) -> None:
    theirs = their_model(7, "granitemoe")
    theirs.save_pretrained(tmp_path / "disk")
    theirs.save_pretrained(tmp_path / "memory")
    weights = {name: weight.contiguous() for name, weight in theirs.state_dict().items()}
    if theirs.config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["lm_head.weight"].clone()
    assert any(name.endswith(tuple(RENAMED_IN_MEMORY)) for name in weights)
    save_file(weights, tmp_path / "memory" / "model.safetensors", {"format": "pt"})
    for name in ("disk", "memory"):
        run_import(tmp_path / name, tmp_path / f"{name}.ours")
    one, other = (find_source(tmp_path / f"{name}.ours") for name in ("disk", "memory"))
    assert one.checkpoint.files.keys() == other.checkpoint.files.keys()
    assert [f["sha256"] for f in one.checkpoint.files.values()] == [
        f["sha256"] for f in other.checkpoint.files.values()
    ]


def test_a_tied_head_that_was_stored_has_to_be_the_embedding(tmp_path: Path, their_model, run_import) -> None:
    their_model(8, "granite", tie_word_embeddings=True).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # as old versions stored it
    save_file(weights, file, {"format": "pt"})
    run_import(tmp_path / "theirs", tmp_path / "ours")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"lm_head\.weight differs"):
        run_import(tmp_path / "theirs", tmp_path / "other")


def test_weights_only_has_no_moments(tmp_path: Path, their_model, run_import) -> None:
    their_model(9, "granite").save_pretrained(tmp_path / "theirs")
    made = run_import(tmp_path / "theirs", tmp_path / "ours")
    checkpoint = Checkpoint(tmp_path / "ours")
    assert isinstance(made.shape, ModelShape)
    assert (checkpoint.position.step, checkpoint.position.tokens) == (0, 0)
    with pytest.raises(UserError, match="no exp_avg of parameter 'embedding'"):
        checkpoint.tensor("exp_avg", "embedding")
