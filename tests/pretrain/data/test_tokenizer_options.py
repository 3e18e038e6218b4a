"""A config chooses its tokenizer by kind, and means what it meant before there was a choice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from pretrain.config.load import load
from pretrain.data.options import DataOptions
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress
from pretrain.data.tokenizer_options import SentencePieceOptions, TokenizerChoice, TransformersOptions
from pretrain.data.tokenizers.making import tokenizer_identity
from pretrain.errors import UserError

choice = TypeAdapter(TokenizerChoice)


def test_a_section_without_a_kind_is_sentencepiece() -> None:
    assert choice.validate_python({}) == SentencePieceOptions()
    assert choice.validate_python({"vocab_size": 600}) == SentencePieceOptions(vocab_size=600)
    for options in (
        SentencePieceOptions(model="unigram"),
        TransformersOptions(kind="transformers", path="x"),
    ):
        assert choice.validate_python(options) == options
        assert choice.validate_python(choice.dump_python(options)) == options


def test_folders_that_were_built_before_are_found() -> None:
    """Their names are a hash of exactly these values."""
    assert tokenizer_identity(SentencePieceOptions()) == {"vocab_size": 8192, "sample_bytes": 8_000_000}
    assert tokenizer_identity(SentencePieceOptions(model="unigram"))["model"] == "unigram"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "data.tokenizer.kind=transformer",
            r"kind: 'transformer' should be one of .* Did you mean 'transformers'",
        ),
        ("data.tokenizer.model=unigrm", r"data\.tokenizer\.model: 'unigrm' .* Did you mean 'unigram'"),
        ("data.tokenizer={kind: transformers}", r"data\.tokenizer\.path: missing, and required \(a folder"),
        ("data.tokenizer={kind: transformers, path: x, vocab_size: 9}", "vocab_size: a key of sentencepiece"),
        ("data.tokenizer=8192", r"data\.tokenizer: 8192 should be a mapping"),
        ("data.tokenizer.vocabsize=600", r"data\.tokenizer\.vocabsize: unknown key"),
        ("data.tokenizer.vocab_size=100", r"data\.tokenizer\.vocab_size: 100"),
    ],
)
def test_mistakes_are_named(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load("tiny_moe", [override])


def test_a_tokenizer_that_was_trained_before_keeps_the_shards_that_it_made(
    corpus_options: Callable[..., DataOptions], tmp_path: Path
) -> None:
    """And elsewhere it is copied, so that the run does not depend on where it was."""
    first = corpus_options()
    made = prepare(first, say=str, progress=SilentProgress())
    (folder,) = (Path(first.root) / "tokenizers").iterdir()
    before = sorted(Path(first.root).rglob("*"))
    again = corpus_options(tokenizer={"kind": "trained", "path": str(folder)})
    assert again.tokenizer.vocab_size == 600
    assert prepare(again, say=str, progress=SilentProgress()).fingerprint() == made.fingerprint()
    assert sorted(Path(first.root).rglob("*")) == before
    elsewhere = corpus_options(
        root=str(tmp_path / "elsewhere"), tokenizer={"kind": "trained", "path": str(folder)}
    )
    assert prepare(elsewhere, say=str, progress=SilentProgress()).fingerprint() == made.fingerprint()
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"data\.tokenizer\.path: .*tokenizer\.model"):
        prepare(again, say=str, progress=SilentProgress())
