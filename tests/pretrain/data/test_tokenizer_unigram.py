"""A unigram model loses nothing either, and is the same from the same text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.tokenizer import SentencePieceTokenizer, Tokenizer, load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import SCORE_STEP, train_tokenizer
from pretrain.data.tokenizers.probes import AWKWARD
from pretrain.data.tokenizers.trial import first_failure

OPTIONS = SentencePieceOptions(vocab_size=600, model="unigram")
texts = st.lists(st.one_of(st.text(), st.sampled_from(list(AWKWARD.values())))).map("".join)


@pytest.fixture(scope="module")
def unigram(paragraph: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("unigram")
    train_tokenizer(map(paragraph, range(300)), OPTIONS, folder)
    return load_tokenizer(folder)


@given(text=texts)
def test_every_string_comes_back(unigram: Tokenizer, text: str) -> None:
    ids = unigram.encode(text)
    assert unigram.decode(ids) == text
    assert unigram.token_bytes()[ids].sum() == len(text.encode())
    assert all(1 < token < unigram.vocab_size for token in ids)


def test_the_trial_finds_nothing(unigram: Tokenizer, tokenizer: Tokenizer) -> None:
    assert first_failure(unigram) is None
    assert first_failure(tokenizer) is None


def test_it_is_a_unigram_model_with_sums_that_are_exact(unigram: Tokenizer, tokenizer: Tokenizer) -> None:
    assert isinstance(unigram, SentencePieceTokenizer)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert (unigram.is_unigram, tokenizer.is_unigram) == (True, False)
    scores = [unigram.piece(token)[1] for token in range(unigram.vocab_size)]
    assert all(score / SCORE_STEP == round(score / SCORE_STEP) for score in scores)
    assert len(set(scores)) > 100  # and not all rounded into one


def test_the_same_text_gives_the_same_file(
    unigram: Tokenizer, paragraph: Callable[[int], str], tmp_path: Path
) -> None:
    train_tokenizer(map(paragraph, range(300)), OPTIONS, tmp_path)
    assert load_tokenizer(tmp_path).sha256 == unigram.sha256


def test_cutting_a_long_text_changes_no_token(unigram: Tokenizer, paragraph: Callable[[int], str]) -> None:
    lines = [paragraph(number) for number in range(1000, 1100)]
    assert unigram.encode("".join(lines)) == [token for line in lines for token in unigram.encode(line)]


def test_the_names_of_bytes_can_be_spelled(unigram: Tokenizer) -> None:
    ids = unigram.encode("<0x0A><|end|><|unknown|>")
    assert {unigram.piece(token)[2] for token in ids} == {"normal"}  # type: ignore[attr-defined]
