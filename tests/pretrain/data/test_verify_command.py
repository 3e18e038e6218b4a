"""`pretrain data verify`: all that a path or a config means, every problem, the exit code; `data.strict`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from pretrain.commands.data_verify import data_verify
from pretrain.data.corpus import open_folders
from pretrain.data.layout import Layout, layout
from pretrain.data.options import DataOptions
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress
from pretrain.data.shards import ShardWriter
from pretrain.data.sources.registry import open_source
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.verify_all import verify_config
from pretrain.errors import UserError

app = typer.Typer()
app.command("verify")(data_verify)
app.callback()(lambda: None)


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, ["verify", *words])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def data(corpus_options: Callable[..., DataOptions]) -> DataOptions:
    """A corpus of two sources, built."""
    options = corpus_options(100)
    both = {"some": options.sources["some"], "more": options.sources["some"]}
    options = options.model_copy(update={"sources": both})
    prepare(options, say=lambda _: None, progress=SilentProgress())
    return options


def folders_of(data: DataOptions) -> Layout:
    return layout(data, {name: open_source(name, source) for name, source in data.sources.items()})  # type: ignore[arg-type]


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_path_means_all_folders_below_it_and_a_config_its_own(data: DataOptions) -> None:
    result = run(data.root, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    folders = folders_of(data).sources
    assert [Path(one["path"]) for one in told] == sorted(folders.values())
    assert all(one["ok"] and one["documents"] == 100 for one in told)
    assert not any("end token" in note for one in told for note in one["notes"])  # the tokenizer was found
    verified = verify_config(data, SilentProgress())
    assert [one.path for one in verified] == [folders["some"], folders["more"]]
    assert not any(one.problems for one in verified)
    one = run(str(folders["some"]))
    assert "100 documents" in one.stdout
    assert "no problem" in one.stdout


def test_a_source_that_is_used_in_place_is_verified_there(data: DataOptions, tmp_path: Path) -> None:
    folders = folders_of(data)
    tokenizer = load_tokenizer(folders.tokenizer)
    writer = ShardWriter(tmp_path / "web", tokenizer.vocab_size)
    writer.append(np.array([7, tokenizer.end_id, 8, 9]), np.array([2, 2]))
    writer.close()
    shards = {"kind": "shards", "path": str(tmp_path / "web")}
    values = {"root": data.root, "sources": {"web": shards}, "tokenizer": data.tokenizer.model_dump()}
    with pytest.raises(UserError, match="does not hold this corpus"):  # whose tokenizer is of other text
        verify_config(DataOptions.model_validate(values), SilentProgress())
    found = run(str(tmp_path / "web.bin"), "--tokenizer", str(folders.tokenizer))
    assert found.exit_code == 1
    assert "1 of 2 documents do not end with the end token" in found.stdout
    assert run(str(tmp_path / "web")).exit_code == 0  # nobody said what the end token is
    assert "token ids are not checked" in run(str(tmp_path / "web")).stderr


def test_every_problem_is_listed_and_the_exit_code_is_1(data: DataOptions) -> None:
    files = [folder / "train.bin" for folder in sorted(folders_of(data).sources.values())]
    for file in files:
        file.write_bytes(file.read_bytes()[:-2] + b"\xff\xff")
    result = run(data.root)
    told = run(data.root, "--json")
    assert result.exit_code == told.exit_code == 1
    for one, file in zip(json.loads(told.stdout), files, strict=True):
        assert not one["ok"]
        for words in (f"{file} is not what", "outside the vocabulary", "do not end with the end token"):
            assert any(words in problem for problem in one["problems"])
        assert all(problem in result.stdout and problem in told.stderr for problem in one["problems"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a folder of shards"),
        (["/nowhere/at-all"], "there is neither a folder"),
        (["--config", "tiny_moe", "--tokenizer", "x"], "it is the config's"),
        (["--config", "tiny_moe", "data.root=/nowhere"], r"data\.root: '/nowhere' does not hold this corpus"),
    ],
)
def test_misuse_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(*words)


def test_strict_reads_everything_at_the_first_open(data: DataOptions) -> None:
    folders = folders_of(data)
    open_folders(folders, strict=True)
    flip(folders.sources["some"] / "train.bin", 10)
    open_folders(folders)
    with pytest.raises(
        UserError, match=r"train\.bin is not what was written(.|\n)*data\.strict.*Copy it again"
    ):
        open_folders(folders, strict=True)
