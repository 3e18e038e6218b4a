"""What an export writes beside the weights, what it refuses, and that a failure leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from megatron_lite.model.decoder import Decoder
from pretrain.checkpoint.format import SEAL, state_sha256
from pretrain.checkpoint.load import Checkpoint
from pretrain.cli import main
from pretrain.data.options import TokenizerOptions
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.errors import UserError
from pretrain.exchange import aside, tensors
from pretrain.exchange.source import find_source, starting_point, weights_of


@pytest.fixture
def run(tmp_path: Path, their_model, run_import, our_decoder, save_decoder) -> Path:
    """The folder of a run with two checkpoints and the tokenizer of its data."""
    their_model(2, "granite", num_hidden_layers=1, vocab_size=300).save_pretrained(tmp_path / "theirs")
    run_import(tmp_path / "theirs", tmp_path / "start")
    folder = tmp_path / "runs" / "some"
    for step in (7, 9):
        decoder = our_decoder(tmp_path / "start")
        with torch.no_grad():
            decoder.norm.weight.fill_(step)
        written = save_decoder(decoder, folder, step=step)
        tokenizer = tmp_path / "data" / "tokenizers" / "abc"
        if not tokenizer.exists():
            tokenizer.mkdir(parents=True)
            words = [
                "".join(map(chr, range(97 + n, 97 + n + length))) for n in range(20) for length in range(2, 7)
            ]
            train_tokenizer(
                [" ".join(words) * 9], TokenizerOptions.model_construct(vocab_size=300), tokenizer
            )
        facts = {
            "config": json.loads((written / "state.json").read_text())["config"]
            | {"run": {"name": "some", "root": "runs"}, "data": {"root": "data"}},
            "fingerprint": {"tokenizer": load_tokenizer(tokenizer).sha256, "text.train": "ab" * 32},
        }
        change_state(written, facts)
    return folder


def change_state(folder: Path, facts: dict[str, object]) -> None:
    state = json.loads((folder / "state.json").read_text()) | facts
    state.pop(SEAL)
    (folder / "state.json").write_text(json.dumps(state | {SEAL: state_sha256(state)}))


def test_a_run_is_its_newest_checkpoint(run: Path, tmp_path: Path, run_export) -> None:
    for place, step in [(run, 9), (run / "checkpoints", 9), (run / "checkpoints" / "step_00000007", 7)]:
        made = run_export(place, tmp_path / f"out{place.name}")
        assert made.step == step
        assert made.tokens == step * 1000


def test_tokenizer_ids_and_generation(run: Path, tmp_path: Path, run_export) -> None:
    run_export(run, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = load_tokenizer(tmp_path / "data" / "tokenizers" / "abc")
    assert tokenizer("abcd  \u2581 <|end|>")["input_ids"] == ours.encode("abcd  \u2581 <|end|>")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (None, 1, None)
    generation = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (generation.eos_token_id, generation.pad_token_id) == (1, 1)


def test_the_card_has_the_facts(run: Path, tmp_path: Path, run_export) -> None:
    run_export(run, tmp_path / "out", dtype="bf16")
    card = (tmp_path / "out" / "README.md").read_text()
    checkpoint = Checkpoint(run / "checkpoints" / "step_00000009")
    for fact in (
        "# some",
        "9K tokens",
        "| updates | 9 |",
        "bfloat16",
        "ab" * 32,
        checkpoint.state[SEAL],
        "residual_",
    ):
        assert fact in card
    assert str(tmp_path) not in card


def test_the_tokenizer_is_found_by_its_hash(run: Path, tmp_path: Path, run_export) -> None:
    """From another folder than the run was started in, or where it is said; no other one is taken."""
    folder = tmp_path / "data" / "tokenizers" / "abc"
    moved, other = tmp_path / "moved", folder.with_name("aaa")  # which lies before it
    shutil.move(folder, moved)
    other.mkdir()
    train_tokenizer(["ab ba abba abab aab " * 9], TokenizerOptions.model_construct(vocab_size=268), other)
    with pytest.raises(UserError, match="--tokenizer"):
        run_export(run, tmp_path / "out")
    run_export(run, tmp_path / "out", tokenizer_folder=moved)
    with pytest.raises(UserError, match="is not the run's"):
        run_export(run, tmp_path / "out2", tokenizer_folder=other)
    assert not (tmp_path / "out2").exists()


def test_the_files_that_came_with_imported_weights_go_with_them(
    run, tmp_path, run_import, run_export
) -> None:
    run_export(run, tmp_path / "out")
    made = run_import(tmp_path / "out", tmp_path / "ours")
    assert "tokenizer.json" in made.tokenizer_files
    run_export(tmp_path / "ours", tmp_path / "again")
    for name in (*made.tokenizer_files, "config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_nothing_is_overwritten(run: Path, tmp_path: Path, run_export, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "file").write_text("mine")
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    for name in ("full", "file", "link"):
        with pytest.raises(SystemExit) as left:
            main(["export", str(run), str(tmp_path / name)])
        assert left.value.code == 2
        assert "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "full" / "x").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    run_export(run, tmp_path / "empty")
    run_export(run, tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below" / "config.json").exists()


class Full(Exception):
    """Stands for whatever ends a process in the middle."""


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Full()], ids=repr
)
def test_a_failure_leaves_nothing(
    run: Path, tmp_path: Path, run_export, run_import, monkeypatch, error
) -> None:
    run_export(run, tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))

    def fail(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(tensors.os, "fsync", fail)
    expected = UserError if isinstance(error, OSError) else type(error)
    for call, source in ((run_export, run), (run_import, tmp_path / "out")):
        with pytest.raises(expected) as caught:
            call(source, tmp_path / "second")
        assert sorted(tmp_path.rglob("*")) == before
        if expected is UserError:
            assert "No space left" in str(caught.value)


def test_a_disk_that_is_too_small_is_known_before(run, tmp_path, run_export, monkeypatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(aside.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="are needed, 1 kB are free"):
        run_export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_kill_left_does_not_disturb(run: Path, tmp_path: Path, run_export) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    run_export(run, tmp_path / "out")
    assert not left.exists()


def test_damaged_weights_are_not_exported(run: Path, tmp_path: Path, run_export) -> None:
    checkpoint = run / "checkpoints" / "step_00000009"
    (checkpoint / "exp_avg-00000.safetensors").unlink()  # of which nothing is read
    run_export(run, tmp_path / "out")
    file = checkpoint / "weight-00000.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"weight-00000\.safetensors: damaged"):
        run_export(run, tmp_path / "out2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("runs/sone", "Did you mean 'some'"),
        ("theirs", "pretrain import"),
        ("data", "holds no whole checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_said(run: Path, tmp_path: Path, run_export, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run_export(tmp_path / name, tmp_path / "out")


def test_json_is_all_that_is_on_standard_output(run: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(run), str(tmp_path / "out"), "--json", "--shard-bytes", "1"])
    made = json.loads(capsys.readouterr().out)
    assert made["step"] == 9
    assert len(made["weight_files"]) > 5
    with pytest.raises(SystemExit):
        main(["import", str(tmp_path / "out"), str(tmp_path / "ours"), "--json"])
    imported = json.loads(capsys.readouterr().out)
    assert imported["parameters"]["total"] == made["parameters"]
    for wrong in ("0", "x", "1.5"):
        with pytest.raises(SystemExit) as left:
            main(["export", str(run), str(tmp_path / "no"), "--shard-bytes", wrong])
        assert left.value.code == 2


def test_weights_to_begin_with(run: Path, our_decoder) -> None:
    source = starting_point(str(run), verify=True)
    decoder: Decoder = our_decoder(run)
    read = weights_of(source, decoder.shape)
    for name, weight in decoder.named_parameters():
        assert torch.equal(read("weight", name), weight)
        for kind in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(read(kind, name), torch.zeros_like(weight))


def test_weights_of_another_model_are_refused(run: Path, our_decoder) -> None:
    source, shape = find_source(run), our_decoder(run).shape
    rows = shape.vocab_size
    with pytest.raises(UserError, match=rf"embedding: {rows} x {shape.hidden_size} there, {rows + 1} x "):
        weights_of(source, replace(shape, vocab_size=rows + 1))
    with pytest.raises(UserError, match=r"layers\.1\.mixer_norm\.weight: absent there"):
        weights_of(source, replace(shape, num_layers=2))
    with pytest.raises(UserError, match=r"model\.residual_multiplier: .* there, 0\.5 in this config"):
        weights_of(source, replace(shape, residual_multiplier=0.5))
    weights_of(source, replace(shape, max_positions=99999, rope_theta=1e7))
