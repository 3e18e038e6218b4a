"""A tokenizer that came from transformers goes back to it, and gives there the ids of the training."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, trainers
from tokenizers import pre_tokenizers as pre
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pretrain.data.tokenizer import Tokenizer, find_tokenizer, load_tokenizer
from pretrain.data.tokenizers.probes import AWKWARD, random_texts
from pretrain.exchange.tokenizer_json import write_tokenizer

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    library = Library(models.BPE())
    library.pre_tokenizer = pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
    )
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=[END, "<|pad|>"],
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator([inspect.getsource(inspect)], trainer)
    folder = tmp_path_factory.mktemp("data") / "tokenizers" / "some"
    made = PreTrainedTokenizerFast(tokenizer_object=library, eos_token=END, pad_token="<|pad|>")
    made.save_pretrained(folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def exported(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    (folder / "config.json").write_text(json.dumps({"model_type": "granite"}))
    write_tokenizer(ours, folder, max_positions=64)
    return folder


@pytest.fixture(scope="module")
def theirs(exported: Path):
    return AutoTokenizer.from_pretrained(exported)


def test_real_and_awkward_texts_have_the_same_ids(ours: Tokenizer, theirs) -> None:
    texts = [inspect.getsource(json), *AWKWARD.values(), *random_texts()]
    for text in texts:
        if END not in text:
            assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text)
        told = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert told == ours.encode(text)


@settings(max_examples=150, deadline=None)
@given(text=st.text())
def test_every_string_has_the_same_ids(ours: Tokenizer, theirs, text: str) -> None:
    assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text


def test_it_goes_back_as_it_came(ours: Tokenizer, exported: Path, theirs) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (exported / name).read_bytes() == (ours.definition.folder / name).read_bytes()  # type: ignore[attr-defined]
    assert (theirs.eos_token_id, len(theirs)) == (ours.end_id, ours.vocab_size)
    assert load_tokenizer(exported).sha256 == ours.sha256


def test_it_is_found_by_its_hash(ours: Tokenizer) -> None:
    folder = ours.definition.folder  # type: ignore[attr-defined]
    root = folder.parents[1]
    (root / "tokenizers" / "broken").mkdir()
    (root / "tokenizers" / "broken" / "tokenizer.json").write_text("{")
    found = find_tokenizer(root, ours.sha256)
    assert found is not None
    assert found.encode("x = 12") == ours.encode("x = 12")
    assert find_tokenizer(root, "0" * 64) is None
