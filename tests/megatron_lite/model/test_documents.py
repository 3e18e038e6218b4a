"""Where documents are cut."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.documents import documents


def test_cut_after_end_tokens() -> None:
    """After every end token and between sequences; an end token at the end of a sequence cuts once."""
    where = documents(torch.tensor([[5, 0, 6, 7], [0, 0, 8, 0]]), end_id=0)
    assert where.boundaries == (0, 2, 4, 5, 6, 8)
    assert where.positions_T.tolist() == [0, 1, 0, 1, 0, 0, 0, 1]
    assert where.cu_lengths.dtype == torch.int32
    assert where.cu_lengths.tolist() == [0, 2, 4, 5, 6, 8]
    assert where.max_length == 2


def test_whole_sequences() -> None:
    """Without an end token a sequence is a document."""
    where = documents(torch.zeros(3, 4, dtype=torch.long), end_id=None)
    assert where.boundaries == (0, 4, 8, 12)
    assert where.positions_T.tolist() == [0, 1, 2, 3] * 3
    assert where.max_length == 4


@given(rows=st.integers(1, 4), columns=st.integers(1, 9), seed=st.integers(0, 1000))
def test_every_token_in_one_document(rows: int, columns: int, seed: int) -> None:
    """Positions count from 0 in each document; an end token is the last of its document."""
    tokens_BS = torch.randint(3, (rows, columns), generator=torch.Generator().manual_seed(seed))
    where = documents(tokens_BS, end_id=0)
    bounds = where.boundaries
    assert where.cu_lengths.tolist() == list(bounds)
    assert set(range(0, rows * columns + 1, columns)) <= set(bounds)
    lengths = [end - start for start, end in pairwise(bounds)]
    assert min(lengths) > 0
    assert max(lengths) == where.max_length
    assert where.positions_T.tolist() == [position for length in lengths for position in range(length)]
    for start, end in pairwise(bounds):
        document = tokens_BS.flatten()[start:end].tolist()
        assert 0 not in document[:-1]
        assert document[-1] == 0 or end % columns == 0
