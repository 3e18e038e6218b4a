"""The tokenizer that is written for transformers gives the ids of ours, for every string and vocabulary."""

from __future__ import annotations

import random
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pretrain.data.tokenizer import END_PIECE, Tokenizer, load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.errors import UserError
from pretrain.exchange import tokenizer_json
from pretrain.exchange.tokenizer_json import Pieces, merges, write_tokenizer

AWKWARD = ["\u2581", "\u2585", "\u2047", "\0", "\r\n", "\t", "   ", "\n\n", "\ufeff", "e\u0301", "\U0001f600"]
AWKWARD += [
    END_PIECE,
    "<|unknown|>",
    "<unk>",
    "</s>",
    "<s>",
    "<0x41>",
    "\u2028",
    "\x85",
    "\x7f",
    "\U0010ffff",
]
AWKWARD += [
    "====",
    "----",
    "ababab",
    "0123",
    " " * 7,
    "日本語",
    "class Foo:\n    def f(self):\n        return 1\n",
]
texts = st.lists(st.one_of(st.text(), st.sampled_from(AWKWARD))).map("".join)


def sample(number: int) -> str:
    """Text with long runs, whose merges overlap in many ways."""
    rng = random.Random(number)
    words = [
        "return",
        "self",
        "ab" * rng.randint(1, 8),
        "=" * rng.randint(1, 40),
        "-" * rng.randint(1, 30),
        "é",
    ]
    words += ["".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(6)]
    line = " ".join(rng.choices(words, k=8))
    return (
        "\n".join(" " * rng.randint(0, 24) + line for _ in range(4))
        + f"\n\t{number} \U0001f600 {'0' * number}\n"
    )


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("ours")
    options = SentencePieceOptions(vocab_size=512, model=request.param)
    train_tokenizer(map(sample, range(60)), options, folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def theirs(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("theirs")
    write_tokenizer(ours, folder, max_positions=64)
    return AutoTokenizer.from_pretrained(folder)


@settings(max_examples=400)
@given(text=texts)
def test_every_string(ours: Tokenizer, theirs, text: str) -> None:
    ids = ours.encode(text)
    assert theirs(text)["input_ids"] == ids
    assert theirs.decode(ids) == text


@settings(max_examples=400)
@given(text=st.text(alphabet="ab =-\n\u2581é", max_size=80))
def test_runs(ours: Tokenizer, theirs, text: str) -> None:
    assert theirs(text)["input_ids"] == ours.encode(text)


@pytest.mark.parametrize("length", [4094, 4095, 4096, 4097, 8193, 20000])
@pytest.mark.parametrize("unit", ["return ", " ", "=", "ab", "\n", "ab \n", "\u2581", "a" * 4000 + "\n"])
def test_texts_longer_than_a_stretch(ours: Tokenizer, theirs, unit: str, length: int) -> None:
    """Ours cuts lines of more than 4096 characters, and misses merges across the cut; theirs likewise."""
    text = (unit * length)[:length]
    assert theirs(text)["input_ids"] == ours.encode(text)


def test_special_tokens(ours: Tokenizer, theirs) -> None:
    assert theirs.eos_token_id == ours.end_id
    assert theirs.eos_token == END_PIECE
    assert (theirs.bos_token, theirs.pad_token, len(theirs), theirs.is_fast) == (
        None,
        None,
        ours.vocab_size,
        True,
    )
    text = ours.encode("a b")
    assert theirs.decode([1, *text, 0, 1], skip_special_tokens=True) == "a b"
    assert theirs.decode([1, *text]) == END_PIECE + "a b"
    assert (
        theirs.decode([*text, ours.vocab_size, 10**6], skip_special_tokens=True) == "a b"
    )  # a padded model's
    assert theirs("a b")["input_ids"] == text  # and nothing is added


def merged(text: str, scores: dict[str, float]) -> list[str]:
    """What sentencepiece does, as simply as can be: the best piece of two neighbours, the leftmost one."""
    symbols = list(text)
    while True:
        found = [(-scores[a + b], at) for at, (a, b) in enumerate(pairwise(symbols)) if a + b in scores]
        if not found:
            return symbols
        at = min(found)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


def pieces_of(scores: dict[str, float]) -> Pieces:
    return Pieces(texts=("<u>", "<e>", *scores), normal=scores, special=(0, 1))


MANY = ["".join(letters) for length in range(2, 7) for letters in product("ab", repeat=length)]


@settings(max_examples=300)
@given(
    long=st.permutations(MANY).flatmap(lambda all_: st.integers(1, 60).map(lambda n: all_[:n])),
    data=st.data(),
)
def test_any_vocabulary_with_any_scores(long: list[str], data: st.DataObject) -> None:
    """Not only those that training gives: pieces that can be made in many ways, or in none, in any order."""
    scores = {text: -float(rank) for rank, text in enumerate([*long, "a", "b"])}
    made = tokenizer_json._build(pieces_of(scores))
    for _ in range(5):
        text = data.draw(st.text(alphabet="ab", max_size=40))
        assert made.encode(text).tokens == merged(text, scores)


def test_a_piece_that_no_text_becomes_has_no_merge() -> None:
    scores = {"ab": -1.0, "bc": -2.0, "abcd": -3.0, "a": -9.0, "b": -9.0, "c": -9.0, "d": -9.0}
    assert merges(scores) == [("a", "b"), ("b", "c")]  # abcd would need ab + cd, or abc + d
    assert merges(scores | {"abc": -2.5}) == [("a", "b"), ("b", "c"), ("ab", "c"), ("abc", "d")]


def test_what_cannot_be_written_is_refused(ours: Tokenizer, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match="equal score"):
        merges({"ab": -1.0, "ba": -1.0, "a": -2.0, "b": -3.0})
    with pytest.raises(UserError, match=r"no pieces: \['c'\]"):
        merges({"ac": -1.0, "a": -2.0})
    monkeypatch.setattr(tokenizer_json, "merges", lambda scores: merges(scores)[::-1])
    monkeypatch.setattr(tokenizer_json, "NEVER", 0.0)  # of the names of bytes in a unigram model
    with pytest.raises(UserError, match=r"encodes .* otherwise"):
        write_tokenizer(ours, tmp_path, max_positions=64)
    assert not list(tmp_path.iterdir())
