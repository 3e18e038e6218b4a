from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.packing import PackedShard


@given(num_tokens=st.integers(0, 200), length=st.integers(1, 50))
def test_nothing_is_lost_but_the_last_partial_sequence(num_tokens: int, length: int) -> None:
    packed = PackedShard(SimpleNamespace(tokens=np.arange(num_tokens)), length)
    targets = [token for j in range(len(packed)) for token in packed[j][1:]]
    assert targets == list(range(1, len(packed) * length + 1))
    left = num_tokens - 1 - len(targets)
    assert left < length
    for j in range(len(packed)):
        assert packed[j].tolist() == list(range(j * length, j * length + length + 1))


def test_sequences_outside_are_refused() -> None:
    packed = PackedShard(SimpleNamespace(tokens=np.arange(9)), 4)
    assert len(packed) == 2
    for j in (-1, 2):
        with pytest.raises(IndexError):
            packed[j]
