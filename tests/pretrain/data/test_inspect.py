"""`pretrain data inspect`: statistics by hand, documents as text, the exact rows that a run reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from pretrain.commands.data_inspect import data_inspect
from pretrain.config.load import load
from pretrain.config.past import derived_of
from pretrain.data.inspect_shards import open_shards
from pretrain.data.prepare import open_corpus, prepare
from pretrain.data.progress import SilentProgress
from pretrain.data.shards import ShardWriter
from pretrain.data.training import TrainingData
from pretrain.errors import UserError

app = typer.Typer()
app.command("inspect")(data_inspect)
app.callback()(lambda: None)


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, paragraph: Callable[[int], str]) -> Path:
    """A tiny run of two stages over two sources, its data built."""
    folder = tmp_path_factory.mktemp("run")
    for name, numbers in {"one": range(300), "two": range(300, 400)}.items():
        lines = (json.dumps({"text": paragraph(number)}) + "\n" for number in numbers)
        (folder / f"{name}.jsonl").write_text("".join([*lines, json.dumps({"text": ""}) + "\n"]))
    sections = {
        "schema_version": 1,
        "run": {"name": "tiny", "root": str(folder / "runs")},
        "model": {
            "architecture": "granite", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 2, "intermediate_size": 64,
        },
        "schedule": {"warmup_tokens": 1024, "decay_tokens": 1024},
        "batch": {"sequences": 4, "sequence_length": 64, "micro_sequences": 2},
        "stages": [
            {"name": "stable", "tokens": 4096, "mix": {"one": 3, "two": 1}},
            {"name": "decay", "tokens": 2048, "mix": {"two": 1}},
        ],
        "data": {
            "root": str(folder / "data"),
            "sources": {
                name: {"kind": "jsonl", "path": str(folder / f"{name}.jsonl")} for name in ("one", "two")
            },
            "tokenizer": {"vocab_size": 600},
            "validation_share": 0.1,
        },
    }  # fmt: skip
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(sections))
    prepare(load(str(file)).data, say=lambda _: None, progress=SilentProgress())
    return file


def shard_folder(config: Path, name: str) -> Path:
    (folder,) = (config.parent / "data" / "shards").glob(f"{name}-*")
    return folder


def test_statistics_are_those_of_the_documents(config: Path) -> None:
    folder = shard_folder(config, "one")
    told = json.loads(run("inspect", str(folder), "--json").stdout)
    shards = open_shards(str(folder))
    assert shards.tokenizer is not None
    assert told["left_out"]["empty"] == 1
    texts = {}
    for side, shard in shards.sides.items():
        documents = [shard.document(number).tolist() for number in range(shard.num_documents)]
        texts[side] = [shards.tokenizer.decode(document) for document in documents]
        stated = told["sides"][side]
        lengths = sorted(map(len, documents))
        assert (stated["documents"], stated["tokens"]) == (len(documents), sum(lengths))
        assert stated["bytes"] == sum(len(text.encode()) for text in texts[side])
        assert stated["bytes_per_token"] == pytest.approx(stated["bytes"] / stated["tokens"])
        assert stated["lengths"]["min"] == lengths[0]
        assert stated["lengths"]["50%"] == lengths[(len(lengths) - 1) // 2]
        assert stated["lengths"]["max"] == lengths[-1]
        assert all(text.startswith(first) for text, first in zip(texts[side], stated["first"], strict=False))
    assert sum(map(len, texts.values())) == 300
    table = run("inspect", str(folder)).stdout
    assert f"{told['sides']['train']['tokens']:,}" in table
    assert "1 empty" in table


def test_a_document_is_shown_as_its_text_and_tokens(config: Path) -> None:
    folder = shard_folder(config, "two")
    shards = open_shards(str(folder))
    assert shards.tokenizer is not None
    for side in ("train", "validation"):
        shown = run("inspect", str(folder), "--document", "1", "--side", side)
        told = json.loads(run("inspect", str(folder), "--document", "1", "--side", side, "--json").stdout)
        assert told["tokens"] == shards.sides[side].document(1).tolist()
        assert told["text"] + "\n" == shown.stdout
        assert [*shards.tokenizer.encode(told["text"]), shards.tokenizer.end_id] == told["tokens"]
    with pytest.raises(UserError, match=r"--document 5000: .* has 0 to \d+ in its train part"):
        run("inspect", str(folder), "--document", "5000")


def test_a_sequence_is_exactly_what_the_run_reads(config: Path) -> None:
    options = load(str(config))
    corpus, derived = open_corpus(options.data), derived_of(options)
    training = TrainingData(corpus, derived.stages, options.run.seed)
    assert len(training) == 64 + 32
    sources, end_id = set(), corpus.tokenizer.end_id
    for number in (0, 1, 2, 3, 63, 64, 95):
        told = json.loads(run("inspect", "--config", str(config), "--sequence", str(number), "--json").stdout)
        row = training.rows(number, 1)[0]
        assert told["tokens"] == row.tolist()
        assert told["stage"] == ("stable" if number < 64 else "decay")
        assert told["step"] == 1 + number // 4
        source = corpus.sources[told["source"]].train.tokens
        start = told["index"] * 64
        assert told["tokens"] == source[start : start + 65].tolist()
        pieces = told["documents"]
        assert [piece["start"] for piece in pieces] == [0, *(piece["end"] for piece in pieces[:-1])]
        assert pieces[-1]["end"] == 64
        assert [piece["end"] - 1 for piece in pieces if piece["ends"]] == np.flatnonzero(
            row[:-1] == end_id
        ).tolist()
        assert all(
            piece["text"] == corpus.tokenizer.decode(row[piece["start"] : piece["end"]].tolist())
            for piece in pieces
        )
        sources.add(told["source"])
        text = run("inspect", "--config", str(config), "--sequence", str(number)).stdout
        assert text.count("----- document") == len(pieces)
        assert all(piece["text"] in text for piece in pieces)
    assert sources == {"one", "two"}


def test_overrides_are_part_of_the_run_that_is_shown(config: Path) -> None:
    words = ("inspect", "--config", str(config), "--sequence", "0", "--json")
    longer = json.loads(run(*words, "batch.sequence_length=128", "stages.0.tokens=8192").stdout)
    assert longer["sequence_length"] == len(longer["tokens"]) - 1 == 128


@pytest.mark.parametrize("number", ["-1", "96"])
def test_a_sequence_outside_the_run_is_refused(config: Path, number: str) -> None:
    with pytest.raises(UserError, match="the run reads sequences 0 to 95"):
        run("inspect", "--config", str(config), f"--sequence={number}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect"], "name one folder of shards"),
        (["inspect", "x", "--sequence", "1"], "give its --config"),
        (["inspect", "--config", "tiny_moe"], "give --sequence N"),
        (["inspect", "/nowhere/at-all"], "there is neither a folder '/nowhere/at-all' nor a pair"),
    ],
)
def test_misuse_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(*words)


def test_pairs_of_others_need_a_tokenizer_to_be_text(config: Path, tmp_path: Path) -> None:
    data = load(str(config)).data
    corpus = open_corpus(data)
    writer = ShardWriter(tmp_path / "web", 600)
    documents = [[*corpus.tokenizer.encode(text), corpus.tokenizer.end_id] for text in ("ab cd\n", "é")]
    writer.append(np.array(list(chain(*documents))), np.array(list(map(len, documents))))
    writer.close()
    told = json.loads(run("inspect", f"{tmp_path}/web.idx", "--json").stdout)["sides"]
    assert list(told) == ["train"]
    assert (told["train"]["tokens"], told["train"]["bytes"]) == (sum(map(len, documents)), None)
    assert told["train"]["first"][0] == " ".join(map(str, documents[0]))
    (tokenizer,) = (config.parent / "data" / "tokenizers").iterdir()
    told = json.loads(run("inspect", f"{tmp_path}/web", "--tokenizer", str(tokenizer), "--json").stdout)[
        "sides"
    ]
    assert (told["train"]["bytes"], told["train"]["bytes_are_estimated"]) == (8, True)
    assert told["train"]["first"] == ["ab cd\n", "é"]
