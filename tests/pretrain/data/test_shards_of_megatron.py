"""Shards between this project and megatron-core: its own reader on ours, its own builder read with ours."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.shards import ShardWriter, TokenShard
from pretrain.errors import UserError

indexed_dataset = pytest.importorskip(
    "megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed"
)
torch = pytest.importorskip("torch")
lasting = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

LARGEST = {
    "uint8": 127,
    "int8": 127,
    "int16": 2**15 - 1,
    "int32": 2**31 - 1,
    "int64": 2**40,
    "uint16": 2**16 - 1,
}


def write_theirs(prefix: Path, documents: list[list[list[int]]], dtype: Any, **options: bool) -> None:
    """Documents of sequences of tokens, by Megatron's builder."""
    builder = indexed_dataset.IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype, **options)
    for document in documents:
        for sequence in document:
            builder.add_item(torch.tensor(sequence, dtype=torch.int64))
        builder.end_document()
    builder.finalize(f"{prefix}.idx")


def read_theirs(prefix: Path) -> list[list[int]]:
    """Documents by Megatron's reader."""
    dataset = indexed_dataset.IndexedDataset(str(prefix))
    bounds = dataset.document_indices.tolist()
    return [
        list(chain.from_iterable(dataset[n].tolist() for n in range(first, last)))
        for first, last in pairwise(bounds)
    ]


@lasting
@given(
    documents=st.lists(st.lists(st.integers(0, 65535), min_size=1, max_size=20), min_size=1, max_size=12),
    vocab_size=st.sampled_from([65536, 100_000]),
    longest=st.sampled_from([3, 2**31 - 1]),
)
def test_megatron_reads_every_document_of_ours(
    tmp_path: Path, documents: list[list[int]], vocab_size: int, longest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.data.shards.LONGEST_SEQUENCE", longest)
        writer = ShardWriter(tmp_path / "ours", vocab_size)
        writer.append(np.array(list(chain(*documents)), np.int32), np.array(list(map(len, documents))))
        writer.close()
    assert read_theirs(tmp_path / "ours") == documents


@pytest.mark.parametrize("name", LARGEST)
@lasting
@given(data=st.data())
def test_every_document_of_megatrons_is_read(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Several sequences a document, empty sequences, empty documents, no end tokens, all integers."""
    sequence = st.lists(st.integers(0, LARGEST[name]), max_size=6)
    documents = data.draw(st.lists(st.lists(sequence, max_size=4), max_size=8))
    documents.append([[1]])  # a file of no bytes cannot be mapped by Megatron
    write_theirs(tmp_path / "theirs", documents, getattr(np, name))
    shard = TokenShard(tmp_path / "theirs")
    joined = [list(chain(*document)) for document in documents]
    assert [shard.document(n).tolist() for n in range(shard.num_documents)] == joined
    assert joined == read_theirs(tmp_path / "theirs")
    assert shard.lengths.tolist() == list(map(len, joined))
    assert shard.tokens.tolist() == list(chain(*joined))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_no_tokens(tmp_path: Path, dtype: Any) -> None:
    write_theirs(tmp_path / "theirs", [[[1, 2]]], dtype)
    with pytest.raises(UserError, match="floating-point"):
        TokenShard(tmp_path / "theirs")


def test_modes_of_multimodal_data_are_refused(tmp_path: Path) -> None:
    write_theirs(tmp_path / "theirs", [[[1, 2], [3]]], np.int32, multimodal=True)
    with pytest.raises(UserError, match="multimodal"):
        TokenShard(tmp_path / "theirs")


def test_a_merge_of_two_is_one(tmp_path: Path) -> None:
    documents = [[[5, 6], [7, 1]], [[8, 1]]]
    write_theirs(tmp_path / "first", documents, np.uint16)
    builder = indexed_dataset.IndexedDatasetBuilder(f"{tmp_path}/both.bin", dtype=np.uint16)
    for _ in range(2):
        builder.add_index(str(tmp_path / "first"))
    builder.finalize(f"{tmp_path}/both.idx")
    shard = TokenShard(tmp_path / "both")
    assert [shard.document(n).tolist() for n in range(4)] == 2 * [[5, 6, 7, 1], [8, 1]]
