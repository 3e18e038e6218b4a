"""Sequences of joined documents: nothing is lost but the last partial one, and what is cut is counted."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.loss import IGNORE
from pretrain.data import packing
from pretrain.data.packing import PADDING, Joined


@given(num_tokens=st.integers(0, 200), length=st.integers(1, 50))
def test_nothing_is_lost_but_the_last_partial_sequence(num_tokens: int, length: int) -> None:
    packed = Joined(SimpleNamespace(tokens=np.arange(num_tokens)), length)
    targets = [token for j in range(len(packed)) for token in packed[j][1:]]
    assert targets == list(range(1, len(packed) * length + 1))
    left = num_tokens - 1 - len(targets)
    assert left < length
    for j in range(len(packed)):
        assert packed[j].tolist() == list(range(j * length, j * length + length + 1))


def test_sequences_outside_are_refused() -> None:
    packed = Joined(SimpleNamespace(tokens=np.arange(9)), 4)
    assert len(packed) == 2
    for j in (-1, 2):
        with pytest.raises(IndexError):
            packed[j]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    length=st.integers(1, 20),
    stretch=st.integers(1, 9),
)
def test_the_share_of_cut_documents_is_that_of_documents_in_two_sequences(
    documents: Any, lengths: list[int], length: int, stretch: int
) -> None:
    shard = documents(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "STRETCH", stretch)
        waste = Joined(shard, length).waste()
    starts = np.cumsum([0, *lengths])
    held = [{token // length for token in range(start, end)} for start, end in pairwise(starts)]
    assert waste.cut == sum(len(sequences) > 1 for sequences in held) / len(lengths)
    assert waste.padding == 0
    assert waste.lost_tokens == sum(lengths) - (sum(lengths) - 1) // length * length


def test_of_many_documents_the_first_are_looked_at(documents: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "STRETCH", 4)
    monkeypatch.setattr(packing, "SCANNED", 8)
    assert Joined(documents([8] * 8 + [9, 9]), 8).waste().cut == 0


def test_padding_is_what_the_loss_leaves_out() -> None:
    assert PADDING == IGNORE
