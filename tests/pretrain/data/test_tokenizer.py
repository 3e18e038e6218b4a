from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.tokenizer import END_PIECE, Tokenizer, load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.errors import UserError

# Where lossless tokenizers break: sentencepiece's own characters and pieces, NUL, line ends, far planes.
AWKWARD = ["\u2581", "\u2585", "\u2047", "\0", "\r\n", "\t", "   ", "\n\n", "\ufeff", "e\u0301", "\U0001f600"]
AWKWARD += [
    END_PIECE,
    "<|unknown|>",
    "<unk>",
    "</s>",
    "<0x41>",
    "\u2028",
    "\x85",
    "\x7f",
    "\uffff",
    "\U0010ffff",
]
texts = st.lists(st.one_of(st.text(), st.sampled_from(AWKWARD))).map("".join)


@given(text=texts)
def test_every_string_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
    assert all(1 < token < tokenizer.vocab_size for token in ids)  # neither unknown (0) nor the end (1)


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_text_comes_back_alone_and_between_letters(tokenizer: Tokenizer, text: str) -> None:
    for around in (text, f"a{text}b", f" {text} ", text * 3):
        assert tokenizer.decode(tokenizer.encode(around)) == around


def test_special_tokens_are_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.end_id == 1
    assert tokenizer.decode([tokenizer.end_id, *tokenizer.encode("a"), tokenizer.end_id]) == "a"
    assert tokenizer.token_bytes()[[0, 1]].tolist() == [0, 0]
    assert tokenizer.decode([tokenizer.vocab_size, *tokenizer.encode("b"), 10**6]) == "b"
    assert tokenizer.encode("") == []


def test_lone_surrogates_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode("a\ud800b")


def test_cutting_a_long_text_changes_no_token(tokenizer: Tokenizer, paragraph: Callable[[int], str]) -> None:
    lines = [paragraph(number) for number in range(1000, 1100)]
    assert tokenizer.encode("".join(lines)) == [token for line in lines for token in tokenizer.encode(line)]


def test_one_very_long_line_comes_back(tokenizer: Tokenizer) -> None:
    text = "no line break, " * 5000
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_are_single_and_indents_are_not(tokenizer: Tokenizer) -> None:
    digits = tokenizer.encode("1234567")
    assert len(digits) == 7
    assert len(tokenizer.encode("        return")) < 8


def test_the_same_text_trains_the_same_file(tmp_path: Path, paragraph: Callable[[int], str]) -> None:
    hashes = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train_tokenizer(map(paragraph, range(100)), SentencePieceOptions(vocab_size=600), tmp_path / name)
        hashes.add(load_tokenizer(tmp_path / name).sha256)
    assert len(hashes) == 1


def test_the_largest_vocabulary_that_a_text_gives_is_named(tmp_path: Path) -> None:
    texts = ["abc abd abe\n" * 50]
    with pytest.raises(
        UserError, match=r"data\.tokenizer\.vocab_size: .* 5000 pieces; the most it gives is (\d+)"
    ) as e:
        train_tokenizer(texts, SentencePieceOptions(vocab_size=5000), tmp_path)
    most = int(str(e.value).split("gives is ")[1].split(".")[0])
    train_tokenizer(texts, SentencePieceOptions.model_construct(vocab_size=most), tmp_path)
    assert load_tokenizer(tmp_path).vocab_size == most


def test_more_characters_than_pieces_is_an_error_that_says_so(tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    with pytest.raises(UserError, match="too few for the characters"):
        train_tokenizer([text], SentencePieceOptions(vocab_size=512), tmp_path)


def test_a_damaged_model_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"tokenizer\.model"):
        load_tokenizer(tmp_path)
