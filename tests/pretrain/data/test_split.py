from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.collect import collect
from pretrain.data.encode import EncodedVolume, encode
from pretrain.data.merge import Sides, choose_sides, copies_among
from pretrain.data.sources.base import Document, SourceReader
from pretrain.data.sources.parts import Part
from pretrain.data.split import cut_in_two, first_of_each
from pretrain.data.spool import Spool


class Given(SourceReader):
    """Documents given as (group, text)."""

    def __init__(self, documents):
        self._documents = documents

    def identity(self):
        return None

    def estimated_bytes(self):
        return 1

    def parts(self, part_bytes):
        return [Part(pieces=())]

    def read(self, part):
        return (Document(text=text, group=group) for group, text in self._documents)


class Bytes:
    """A tokenizer of bytes."""

    vocab_size, end_id = 257, 256

    def encode_array(self, text: str) -> array:
        return array("i", list(text.encode()))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Documents by number: to train on, to validate on, and the near copies among the latter."""

    train: list[int]
    validation: list[int]
    near_copies: list[int]


Split = Callable[..., Numbers]


@pytest.fixture
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """The sides of documents given as (group, text), in volumes of a few bytes."""

    def sides(
        *documents: tuple[str, str], share: float, drop_duplicates: bool = False, volume_bytes: int = 10_000
    ) -> Numbers:
        folder = tmp_path_factory.mktemp("split")
        volumes = list(collect(Given(documents), Part(pieces=()), 0, folder, volume_bytes))
        spool = Spool(volumes)
        chosen: Sides = choose_sides(spool, share, drop_duplicates)
        encoded = [EncodedVolume(folder=folder / "tokens", name=volume.name) for volume in volumes]
        for volume, target in zip(volumes, encoded, strict=True):
            target.write(encode(volume, Bytes(), with_lines=True), 1)
        copies = copies_among(chosen, spool, encoded)
        masks = (chosen.train, chosen.validation & ~copies, copies)
        train, validation, near_copies = (np.flatnonzero(mask).tolist() for mask in masks)
        return Numbers(train=train, validation=validation, near_copies=near_copies)

    return sides


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    documents=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 1000)), min_size=2, max_size=40),
    share=st.floats(0, 0.9),
)
def test_groups_stay_whole_and_every_document_is_somewhere(
    split: Split, documents: list[tuple[str, int]], share: float
) -> None:
    sides = split(*[(group, "x" * size) for group, size in documents], share=share)
    train, held_out = sides.train, [*sides.validation, *sides.near_copies]
    assert sorted([*train, *held_out]) == list(range(len(documents)))
    assert not {documents[n][0] for n in train} & {documents[n][0] for n in held_out}
    assert train  # there is always something to train on
    sizes = {group: sum(size for each, size in documents if each == group) for group, _ in documents}
    held_bytes = sum(documents[n][1] for n in held_out)
    assert held_bytes <= max(share * sum(sizes.values()), min(sizes.values()))


def test_the_share_is_filled_when_documents_are_many(split: Split) -> None:
    sides = split(*[(str(n), f"{n} " * 50) for n in range(1000)], share=0.1)
    assert 90 <= len(sides.validation) <= 110


def test_no_large_group_is_all_that_is_held_out(split: Split) -> None:
    """Whatever the hashes: groups of 1 % of the text go before one that would fill the share of 10 %."""
    for large in range(20):
        small = [(str(n), f"{n:04}" * 25) for n in range(81)]
        sides = split((f"large {large}", "x" * 900), *small, share=0.1)
        assert 0 in sides.train
        assert len(sides.validation) == 9


def test_one_of_two_files_is_held_out_however_small_the_share(split: Split) -> None:
    sides = split(("a", "x" * 100), ("b", "y" * 50), share=0.02)
    assert (sides.train, sides.validation) == ([0], [1])


def test_near_copies_are_in_neither_side(split: Split) -> None:
    def text(*names: str) -> str:
        return "".join(f"    a long enough line about {name}\n" for name in names)

    sides = split(
        ("large", text(*"abcdefghij")),
        ("small", text("a", "b", "x", "y")),  # half of its lines are in the training text
        ("small", text("a", "u", "v", "w")),  # a quarter
        ("small", "short\nlines\nonly\n"),
        share=0.5,
        volume_bytes=150,
    )
    assert sides == Numbers(train=[0], validation=[2, 3], near_copies=[1])


def test_the_first_of_equal_documents_stays(split: Split) -> None:
    sides = split(("a", "x"), ("b", "y"), ("c", "x"), ("b", "y"), share=0.0, drop_duplicates=True)
    assert sides.train == [0, 1]


@given(numbers=st.lists(st.integers(0, 5)))
def test_each_value_is_counted_where_it_comes_first(numbers: list[int]) -> None:
    digests = np.array([(number // 2, number % 2) for number in numbers], dtype="<u8").reshape(-1, 2)
    first = [number not in numbers[:place] for place, number in enumerate(numbers)]
    assert first_of_each(digests).tolist() == first


@pytest.mark.parametrize("text", ["one line of text\n" * 100, "é" * 1000, "no break, " * 100])
def test_a_single_document_is_cut_near_its_end(text: str) -> None:
    start, end = (half.decode() for half in cut_in_two(text.encode(), 0.1))
    assert start + end == text
    assert len(end) == pytest.approx(0.1 * len(text), rel=0.2)
    assert start.endswith("\n") or "\n" not in text


def test_nothing_is_held_out_of_a_share_of_zero(split: Split) -> None:
    assert split(("a", "x"), ("b", "y"), share=0.0) == Numbers(train=[0, 1], validation=[], near_copies=[])


def test_texts_are_read_across_volumes(tmp_path: Path) -> None:
    documents = [(str(n), f"text {n} é\n" * n) for n in range(1, 40)]
    spool = Spool(list(collect(Given(documents), Part(pieces=()), 0, tmp_path, volume_bytes=150)))
    assert list(spool.texts(np.arange(39))) == [text for _, text in documents]
    assert spool.read(4, 5, 2) == b"5 "
