"""Best-fit packing: every token once, no cut where none is needed, and the same from any side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.loss import IGNORE
from pretrain.data import best_fit
from pretrain.data.batch import batch_of
from pretrain.data.best_fit import BestFit
from pretrain.data.packing import PADDING

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=60)
sequence_lengths = st.integers(1, 30)
blocks = st.integers(1, 80)


@contextmanager
def blocks_of(documents: int, kept: int = 2) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_fit, "BLOCK_DOCUMENTS", documents)
        patch.setattr(best_fit, "KEPT_BLOCKS", kept)
        yield


def runs(row: np.ndarray) -> list[list[int]]:
    """The stretches of consecutive tokens in the inputs of a row, padding left out."""
    tokens = row[:-1][row[:-1] != PADDING].tolist()
    found: list[list[int]] = []
    for token in tokens:
        if found and found[-1][-1] + 1 == token:
            found[-1].append(token)
        else:
            found.append([token])
    return found


@given(lengths=lengths, length=sequence_lengths, block=blocks)
def test_every_token_is_an_input_once(documents: Any, lengths: list[int], length: int, block: int) -> None:
    with blocks_of(block):
        packed = BestFit(documents(lengths), length)
        rows = [packed[j] for j in range(len(packed))]
    assert all(len(row) == length + 1 for row in rows)
    inputs = [token for row in rows for token in row[:-1].tolist() if token != PADDING]
    assert sorted(inputs) == list(range(sum(lengths)))


@given(lengths=lengths, length=sequence_lengths, block=blocks)
def test_a_document_that_fits_lies_in_one_sequence_and_a_longer_one_in_as_few_as_it_can(
    documents: Any, lengths: list[int], length: int, block: int
) -> None:
    with blocks_of(block):
        packed = BestFit(documents(lengths), length)
        sequence_of = {
            token: j for j in range(len(packed)) for token in packed[j][:-1].tolist() if token != PADDING
        }
    start = 0
    for size in lengths:
        held = {sequence_of[token] for token in range(start, start + size)}
        assert len(held) == -(-size // length)
        start += size


@given(lengths=lengths, length=sequence_lengths, block=blocks)
def test_a_target_is_the_next_token_of_its_document_or_none(
    documents: Any, lengths: list[int], length: int, block: int
) -> None:
    """Where a document goes on in the next sequence, the last target is its next token, as when joined."""
    lasts = set((np.cumsum(lengths) - 1).tolist())
    with blocks_of(block):
        packed = BestFit(documents(lengths), length)
        for j in range(len(packed)):
            row = packed[j].tolist()
            for token, target in pairwise(row):
                if token == PADDING:
                    assert target == PADDING
                elif token not in lasts:
                    assert target == token + 1


@given(lengths=lengths, length=sequence_lengths, block=blocks, data=st.data())
def test_any_order_of_reading_gives_the_same(
    documents: Any, lengths: list[int], length: int, block: int, data: st.DataObject
) -> None:
    with blocks_of(block):
        packed, again = (BestFit(documents(lengths), length) for _ in range(2))
        rows = [packed[j] for j in range(len(packed))]
        for j in data.draw(st.lists(st.integers(0, len(packed) - 1), max_size=20)) if len(packed) else []:
            assert np.array_equal(again[j], rows[j])


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40), more=lengths)
def test_a_block_depends_on_nothing_behind_it(documents: Any, lengths: list[int], more: list[int]) -> None:
    with blocks_of(len(lengths)):
        alone, followed = BestFit(documents(lengths), 16), BestFit(documents(lengths + more), 16)
        for j in range(len(alone)):
            assert np.array_equal(alone[j], followed[j])


def fitted_slowly(lengths: list[int], room: int) -> list[list[int]]:
    """Best fit decreasing by looking at every sequence for every document."""
    sequences: list[list[int]] = []
    for size in sorted(lengths, reverse=True):
        fitting = [sequence for sequence in sequences if sum(sequence) + size <= room]
        best = max(fitting, key=sum, default=None)
        if best is None:
            best = []
            sequences.append(best)
        best.append(size)
    return sequences


@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=60))
def test_the_fit_is_best_fit_decreasing(documents: Any, lengths: list[int]) -> None:
    length = 25
    packed = BestFit(documents(lengths), length)
    starts = np.cumsum([0, *lengths]).tolist()
    found = []
    for j in range(len(packed)):
        inputs = set(packed[j][:-1].tolist())
        found.append(sorted(size for start, size in zip(starts, lengths, strict=False) if start in inputs))
    assert sorted(found) == sorted(sorted(sequence) for sequence in fitted_slowly(lengths, length))


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60), length=sequence_lengths, block=blocks)
def test_what_it_costs_is_what_can_be_counted(
    documents: Any, lengths: list[int], length: int, block: int
) -> None:
    with blocks_of(block):
        packed = BestFit(documents(lengths), length)
        waste = packed.waste()
        padding = sum(int((packed[j][:-1] == PADDING).sum()) for j in range(len(packed)))
    assert waste.padding == pytest.approx(padding / (len(packed) * length))
    assert waste.cut == sum(size > length for size in lengths) / len(lengths)
    assert waste.lost_tokens == 0


def test_web_like_documents_leave_little_room(documents: Any) -> None:
    """Log-normal lengths, 600 tokens in the middle: only the last sequences of a block are not full."""
    sizes = np.random.default_rng(0).lognormal(np.log(600), 1.0, 20_000).astype(int) + 1
    waste = BestFit(documents(sizes.tolist()), 4096).waste()
    assert waste.padding < 0.003
    assert "% padding" in waste.describe()


def test_a_document_of_many_sequences_costs_no_memory(documents: Any) -> None:
    packed = BestFit(documents([10**6 + 3, 2, 1]), 10)
    assert len(packed) == 10**5 + 1
    assert packed[99_999].tolist() == list(range(999_990, 10**6 + 1))
    assert (
        packed[10**5].tolist()
        == [10**6, 10**6 + 1, 10**6 + 2, 10**6 + 3, 10**6 + 4, 10**6 + 5] + [PADDING] * 5
    )


def test_sequences_outside_are_refused(documents: Any) -> None:
    packed = BestFit(documents([3, 3]), 4)
    assert len(packed) == 2
    for j in (-1, 2):
        with pytest.raises(IndexError):
            packed[j]


def test_nothing_is_no_sequence(documents: Any) -> None:
    assert len(BestFit(documents([]), 4)) == 0


END = 1
ROWS = np.array(
    [
        [5, 6, END, 7, END, PADDING, PADDING, PADDING, PADDING],
        [8, 8, 8, 8, 8, 8, 8, END, PADDING],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
    ],
    np.int32,
)


def test_padding_is_one_document_that_predicts_nothing() -> None:
    batch = batch_of(ROWS, END, document_mask=True)
    assert batch.documents.boundaries == (0, 3, 5, 8, 16, 24)
    assert batch.tokens_T[:8].tolist() == [5, 6, END, 7, END, END, END, END]
    assert batch.targets_T[:8].tolist() == [6, END, IGNORE, END, IGNORE, IGNORE, IGNORE, IGNORE]
    assert batch.num_valid == 3 + 7 + 8


def test_without_document_masks_padding_still_predicts_nothing() -> None:
    batch = batch_of(ROWS, END, document_mask=False)
    assert batch.documents.boundaries == (0, 8, 16, 24)
    assert batch.targets_T[:8].tolist() == [6, END, 7, END, IGNORE, IGNORE, IGNORE, IGNORE]
    assert torch.equal(batch.tokens_T[8:16], torch.tensor([8] * 7 + [END]))
