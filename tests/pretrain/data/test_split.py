from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.split import split
from pretrain.data.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """A spool of documents given as (group, text)."""
    opened = []

    def fill(*documents: tuple[str, str]) -> Spool:
        opened.append(Spool(tmp_path / f"{len(opened)}.text"))
        for group, text in documents:
            opened[-1].append(text.encode(), group)
        opened[-1].finish()
        return opened[-1]

    yield fill
    for each in opened:
        each.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 1000)), min_size=2, max_size=40),
    share=st.floats(0, 0.9),
)
def test_groups_stay_whole_and_every_document_is_somewhere(
    spool: Callable[..., Spool], documents: list[tuple[str, int]], share: float
) -> None:
    sides = split(spool(*[(group, "x" * size) for group, size in documents]), share)
    train, held_out = sides.train.tolist(), [*sides.validation.tolist(), *sides.near_copies.tolist()]
    assert sorted([*train, *held_out]) == list(range(len(documents)))
    assert not {documents[n][0] for n in train} & {documents[n][0] for n in held_out}
    assert train  # there is always something to train on
    sizes = {group: sum(size for each, size in documents if each == group) for group, _ in documents}
    held_bytes = sum(documents[n][1] for n in held_out)
    assert held_bytes <= max(share * sum(sizes.values()), min(sizes.values()))


def test_the_share_is_filled_when_documents_are_many(spool: Callable[..., Spool]) -> None:
    sides = split(spool(*[(str(n), f"{n} " * 50) for n in range(1000)]), 0.1)
    assert 90 <= len(sides.validation) <= 110


def test_no_large_group_is_all_that_is_held_out(spool: Callable[..., Spool]) -> None:
    """Whatever the hashes: groups of 1 % of the text go before one that would fill the share of 10 %."""
    for large in range(20):
        sides = split(
            spool((f"large {large}", "x" * 900), *[(str(n), f"{n:04}" * 25) for n in range(81)]), 0.1
        )
        assert 0 in sides.train
        assert len(sides.validation) == 9


def test_one_of_two_files_is_held_out_however_small_the_share(spool: Callable[..., Spool]) -> None:
    sides = split(spool(("a", "x" * 100), ("b", "y" * 50)), 0.02)
    assert (sides.train.tolist(), sides.validation.tolist()) == ([0], [1])


def test_near_copies_are_in_neither_side(spool: Callable[..., Spool]) -> None:
    def text(*names: str) -> str:
        return "".join(f"    a long enough line about {name}\n" for name in names)

    documents = spool(
        ("large", text(*"abcdefghij")),
        ("small", text("a", "b", "x", "y")),  # half of its lines are in the training text
        ("small", text("a", "u", "v", "w")),  # a quarter
        ("small", "short\nlines\nonly\n"),
    )
    sides = split(documents, 0.5)
    assert sides.train.tolist() == [0]
    assert sides.near_copies.tolist() == [1]
    assert sides.validation.tolist() == [2, 3]


@pytest.mark.parametrize("text", ["one line of text\n" * 100, "é" * 1000, "no break, " * 100])
def test_a_single_document_holds_out_its_end(spool: Callable[..., Spool], text: str) -> None:
    documents = spool(("only", text))
    sides = split(documents, 0.1)
    both = [sides.train, sides.validation if len(sides.validation) else sides.near_copies]
    parts = ["".join(documents.texts(numbers)) for numbers in both]
    assert "".join(parts) == text
    assert len(parts[1]) == pytest.approx(0.1 * len(text), rel=0.2)


def test_nothing_is_held_out_of_a_share_of_zero(spool: Callable[..., Spool]) -> None:
    sides = split(spool(("a", "x"), ("b", "y")), 0.0)
    assert (len(sides.train), len(sides.validation), len(sides.near_copies)) == (2, 0, 0)
