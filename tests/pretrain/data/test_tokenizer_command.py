"""`pretrain tokenizer`: what it trains is what a run would, and what it says of a tokenizer is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pretrain.commands.tokenizer import app
from pretrain.data.sources.base import Document, Reason, Skipped
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.data.tokenizers.sampling import collect_sample, spread
from pretrain.errors import UserError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def texts(tmp_path: Path, paragraph) -> list[str]:
    """Two hundred paragraphs, which are in a folder of text and in a JSON-lines file."""
    folder = tmp_path / "text"
    folder.mkdir()
    found = [paragraph(number) for number in range(200)]
    for number, text in enumerate(found):
        (folder / f"{number:03}.txt").write_text(text)
    (tmp_path / "some.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in found))
    return found


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_it_trains_what_a_run_would(tmp_path: Path, texts: list[str], model: str) -> None:
    flags = ("--vocab-size", 600, "--model", model, "--json")
    ended = run("train", tmp_path / "text", "--out", tmp_path / "one", *flags)
    assert ended.exit_code == 0, ended.output
    facts = json.loads(ended.stdout)
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    train_tokenizer(texts, SentencePieceOptions.model_validate({"vocab_size": 600, "model": model}), wanted)
    tokenizer = load_tokenizer(wanted)
    assert facts["sha256"] == tokenizer.sha256
    assert (facts["vocab_size"], facts["end_id"], facts["lossless"]) == (600, 1, True)
    assert facts["bytes_per_token"] == facts["bytes"] / facts["tokens"]
    lines = run(
        "train", f"kind=jsonl,path={tmp_path / 'some.jsonl'},column=body", "-o", tmp_path / "two", *flags
    )
    assert json.loads(lines.stdout)["sha256"] == tokenizer.sha256
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["tokenizer.model"]
    assert not list(tmp_path.glob(".*"))


def test_it_takes_a_configs_sources(tmp_path: Path, texts: list[str], paragraph) -> None:
    config = tmp_path / "c.yaml"
    text = (Path(__file__).parents[3] / "configs" / "tiny_moe.yaml").read_text()
    config.write_text(
        text.replace("{kind: python}", f"{{kind: text, path: {tmp_path / 'text'}}}").replace("4096", "600")
    )
    ended = run("train", "--config", config, "--out", tmp_path / "one", "--vocab-size", 700, "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["vocab_size"] == 700


def test_nothing_is_overwritten_and_mistakes_leave_nothing(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "there").mkdir()
    source, out = tmp_path / "text", tmp_path / "out"
    cases = [
        (("train", source, "--out", tmp_path / "there"), "exists already"),
        (("train", "--out", out), "Name a SOURCE"),
        (("train", tmp_path / "txt", "--out", out), "Did you mean 'text'"),
        (("train", source, "--out", out, "--vocab-size", "many"), "--vocab-size: 'many'"),
        (("train", source, "--out", out, "--model", "bep"), "--model: 'bep' should be 'bpe' or 'unigram'"),
        (("train", source, "--out", out, "--sample-bytes", "x"), "--sample-bytes: 'x'"),
        (
            ("train", source, "--out", out, "--vocab-size", "60000"),
            "--vocab-size: the text is too little for 60000 pieces",
        ),
        (
            ("train", "kind=jsnl,path=x", "--out", out),
            "SOURCE: 'jsnl' is no kind of source. Did you mean 'jsonl'",
        ),
        (("inspect", tmp_path / "none"), "holds no tokenizer"),
    ]
    for arguments, words in cases:
        ended = run(*arguments)
        assert isinstance(ended.exception, UserError), (arguments, ended.output)
        assert words in str(ended.exception)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_inspect_shows_the_pieces_of_a_text(tmp_path: Path, texts: list[str]) -> None:
    run("train", tmp_path / "text", "--out", tmp_path / "one", "--vocab-size", 600)
    tokenizer, text = load_tokenizer(tmp_path / "one"), "a é\n\u2581 <|end|>"
    facts = json.loads(run("inspect", tmp_path / "one", "--text", text, "--json").stdout)
    assert [piece["id"] for piece in facts["pieces"]] == tokenizer.encode(text)
    assert (facts["kind"], facts["end_token"], facts["bytes"]) == (
        "sentencepiece",
        "<|end|>",
        len(text.encode()),
    )
    shown = run("inspect", tmp_path / "one", "--text", "[bold]").stdout
    assert tokenizer.sha256 in shown.replace("\n", "").replace(" ", "")
    assert "keeps every text" in shown
    empty = json.loads(run("inspect", tmp_path / "one", "--text", "", "--json").stdout)
    assert (empty["tokens"], empty["bytes_per_token"], empty["pieces"]) == (0, None, [])


def test_a_sample_is_even_bounded_and_the_same() -> None:
    items = [Document(text=f"{number:06} ") for number in range(20_000)]
    items[5:5] = [Skipped(reason=Reason.EMPTY, count=3)]
    found = collect_sample(items, 7_000, lambda _: None)
    assert found == collect_sample(items, 7_000, lambda _: None)
    assert (found.num_seen, found.skipped) == (20_000, {Reason.EMPTY: 3})
    assert 7_000 < sum(map(len, found.texts)) <= 28_000
    numbers = [int(text) for text in found.texts]
    halves = sum(number < 10_000 for number in numbers) / len(numbers)
    assert abs(halves - 0.5) < 0.05
    assert 0 < len("".join(spread(found.texts, 7_000))) <= 14_000
    few = collect_sample(items[:3], 7_000, lambda _: None)
    assert "".join(spread(few.texts, 7_000)) == "000000 000001 000002 "
