"""Tokenizers of transformers: the library's ids for every text, whatever computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_tokenizers import BYTES, END, KINDS, WORDS, save, theirs, trained
from tokenizers import Regex, decoders, models
from tokenizers import Tokenizer as Library
from tokenizers import pre_tokenizers as pre

from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.tokenizers import engines, fast, stretches


@pytest.mark.parametrize("name", KINDS)
def test_the_faster_engine_is_chosen_where_it_can_be(loaded: dict[str, Tokenizer], name: str) -> None:
    why = "tokenizers (its pieces are not cut by one pattern)"
    assert loaded[name].engine == (why if name == "deepseek" else "tiktoken")


@pytest.mark.parametrize("name", KINDS)
def test_ids_are_the_librarys_on_every_document(
    folders: dict[str, Path], loaded: dict[str, Tokenizer], corpus: list[str], name: str
) -> None:
    library = Library.from_file(str(folders[name] / "tokenizer.json"))
    library.encode_special_tokens = True
    texts = corpus if name in ("gpt2", "llama3") else corpus[::8]
    for text, wanted in zip(texts, library.encode_batch_fast(texts, add_special_tokens=False), strict=True):
        assert loaded[name].encode(text) == wanted.ids
        assert loaded[name].decode(wanted.ids) == text


hard = st.sampled_from(
    [
        END,
        "<|pad|>",
        "  ",
        "    ",
        "\r\n",
        "\n",
        "'s",
        "'LL",
        "a",
        "1",
        "é",
        "e\u0301",
        "。",
        "\u2581",
        "\u2028",
    ]
)
texts = st.lists(st.one_of(st.text(max_size=8), hard), max_size=20).map("".join)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_ids_are_the_librarys_on_every_string(
    folders: dict[str, Path], loaded: dict[str, Tokenizer], name: str, text: str
) -> None:
    tokenizer = loaded[name]
    ids = tokenizer.encode(text)
    assert ids == theirs(folders[name])(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
    assert not set(ids) & set(tokenizer.control.values())


def listed_merges(draw: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """Merges in any order and of any pairs of tokens, as training would never give them."""
    made = ["a", "b", "c"]
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(1, 12))):
        pair = (draw(st.sampled_from(made)), draw(st.sampled_from(made)))
        if pair not in merges and len(pair[0] + pair[1]) <= 6:
            merges.append(pair)
            made.append(pair[0] + pair[1])
    if draw(st.booleans()):
        merges = draw(st.permutations(merges))
    return merges, made


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_merges_give_the_librarys_ids(data: st.DataObject, tmp_path_factory) -> None:
    """The engine is chosen by what the merges are, with no probe to save it."""
    merges, made = listed_merges(data.draw)
    leftover = data.draw(st.lists(st.text(alphabet="abc", min_size=2, max_size=4), max_size=3))
    names = dict.fromkeys([END, *sorted(pre.ByteLevel.alphabet()), *made, *leftover])
    vocabulary = {name: token for token, name in enumerate(names)}
    whole = data.draw(st.booleans())
    library = Library(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=whole))
    library.pre_tokenizer, library.decoder = WORDS, decoders.ByteLevel()
    library.add_special_tokens([END])
    folder = save(library, tmp_path_factory.mktemp("any"))
    ours, wanted = load_without_probes(folder), theirs(folder)
    for text in (*made, *leftover, *data.draw(st.lists(st.text(alphabet="abc", max_size=14), max_size=8))):
        assert ours.encode(text) == wanted(text), (ours.engine, text)
    ENGINES.add(ours.engine)


ENGINES: set[str] = set()


def load_without_probes(folder: Path) -> Tokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "probes", lambda: iter(()))
        patch.setattr(fast, "AWKWARD", {})
        return load_tokenizer(folder)


def test_those_merges_were_of_every_kind() -> None:
    assert {"tiktoken", "tokenizers (there are merges that no text reaches)"} <= ENGINES
    assert any("other pairs" in name for name in ENGINES)


def test_what_the_faster_engine_would_merge_otherwise_is_left_to_the_library(tmp_path: Path) -> None:
    """`abc` is made of ab + c alone, but bc comes first: tiktoken would join a + bc, the library does not."""
    names = [END, *sorted(pre.ByteLevel.alphabet()), "bc", "ab", "abc"]
    vocabulary = {name: token for token, name in enumerate(names)}
    library = Library(models.BPE(vocab=vocabulary, merges=[("b", "c"), ("a", "b"), ("ab", "c")]))
    library.pre_tokenizer, library.decoder = WORDS, decoders.ByteLevel()
    library.add_special_tokens([END])
    ours = load_tokenizer(save(library, tmp_path / "t"))
    assert ours.engine.startswith("tokenizers")
    assert ours.encode("abc") == [vocabulary["a"], vocabulary["bc"]]


def test_another_table_of_characters_would_be_noticed(folders: dict[str, Path], monkeypatch) -> None:
    """As when one library learns a new version of Unicode before the other."""
    monkeypatch.setattr("pretrain.data.tokenizers.byte_level.WORDS", r" ?\p{Latin}+|\s+(?!\S)|\s+|[^\s]")
    ours = load_tokenizer(folders["gpt2"])
    assert ours.engine == "tokenizers (tiktoken gives other ids on the probes)"


def test_text_that_a_pattern_leaves_out_is_never_lost(tmp_path: Path, corpus: list[str]) -> None:
    cut = pre.Sequence([pre.Split(Regex(r"\p{L}+|\s+|[!-@]"), "isolated"), BYTES])
    folder = save(trained(corpus, cut), tmp_path / "t")
    ours = load_without_probes(folder)
    assert ours.engine == "tiktoken"
    assert ours.encode("a ^^ b{c}") == theirs(folder)("a ^^ b{c}")
    assert load_tokenizer(folder).engine.startswith("tokenizers")


@pytest.mark.parametrize("name", KINDS)
def test_cutting_long_texts_changes_no_id(
    folders: dict[str, Path], loaded: dict[str, Tokenizer], corpus: list[str], name: str
) -> None:
    text = corpus[0][:9000] + "中文，没有空格。" * 200 + "x" * 70_000 + " 1  2   three\r\n" * 50
    assert len(list(stretches.stretches(text))) == 2
    assert loaded[name].encode(text) == theirs(folders[name])(text)
    pieces = list(stretches.stretches(text, 1))
    assert "".join(pieces) == text
    assert len(pieces) > 500
    whole = [token for piece in pieces for token in theirs(folders[name])(piece)]
    assert whole == loaded[name].encode(text)


@pytest.mark.parametrize("text", [" " * 250_000 + "x", "\n" * 250_000, "!" * 250_000, "ab" * 100_000])
def test_runs_that_are_too_much_for_a_pattern_are_encoded_all_the_same(
    folders: dict[str, Path], loaded: dict[str, Tokenizer], text: str
) -> None:
    assert loaded["gpt2"].encode(text) == theirs(folders["gpt2"])(text)


def test_one_long_word_is_cut_after_a_while() -> None:
    assert [len(part) for part in stretches.stretches("1" * 25, 5, 10)] == [10, 10, 5]
    assert list(stretches.stretches("")) == []


def test_a_tokenizer_whose_tokens_cross_the_cuts_is_not_cut(corpus: list[str], tmp_path: Path) -> None:
    lines = [line for line in corpus[0].split("\n") if len(line) < 60]
    library = trained(lines, BYTES)  # no pieces at all: tokens hold several words
    folder = save(library, tmp_path / "t")
    ours, text = load_tokenizer(folder), "\n".join(lines) * 3
    assert ours.encode(text) == theirs(folder)(text)
    assert ours.encode(text) != [
        token for part in stretches.stretches(text, 1) for token in theirs(folder)(part)
    ]


def test_lone_surrogates_are_refused(loaded: dict[str, Tokenizer]) -> None:
    with pytest.raises(UnicodeEncodeError):
        loaded["gpt2"].encode("a\ud800b")


def test_padding_and_truncation_that_were_saved_are_not_applied(corpus: list[str], tmp_path: Path) -> None:
    library = trained(corpus, WORDS)
    library.enable_truncation(3)
    library.enable_padding(length=10)
    ours = load_tokenizer(save(library, tmp_path / "t"))
    assert ours.decode(ours.encode("one two three four five")) == "one two three four five"
    assert len(ours.encode("a")) == 1
