from __future__ import annotations

import os
import struct
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.shards import ShardWriter, TokenShard
from pretrain.errors import UserError

documents = st.lists(st.lists(st.integers(0, 599), min_size=1, max_size=30), max_size=20)


def write(prefix: Path, documents: list[list[int]], vocab_size: int = 600) -> dict[str, str]:
    writer = ShardWriter(prefix, vocab_size)
    for first in range(0, len(documents), 3):
        some = documents[first : first + 3]
        writer.append(np.array(list(chain(*some)), dtype=np.int32), np.array([len(one) for one in some]))
    return writer.close()


def read_by_hand(prefix: Path) -> list[list[int]]:
    """Megatron's indexed format read with struct alone, from its description."""
    index, data = prefix.with_suffix(".idx").read_bytes(), prefix.with_suffix(".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, num_sequences, num_indices = struct.unpack_from("<QBQQ", index, 9)
    assert (version, num_indices) == (1, num_sequences + 1)
    letter = {4: "i", 8: "H"}[code]
    at = 9 + 8 + 1 + 8 + 8
    lengths = struct.unpack_from(f"<{num_sequences}i", index, at)
    pointers = struct.unpack_from(f"<{num_sequences}q", index, at := at + 4 * num_sequences)
    indices = struct.unpack_from(f"<{num_indices}q", index, at := at + 8 * num_sequences)
    assert len(index) == at + 8 * num_indices
    assert indices == tuple(range(num_sequences + 1))
    return [
        list(struct.unpack_from(f"<{n}{letter}", data, p)) for n, p in zip(lengths, pointers, strict=True)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents, vocab_size=st.sampled_from([600, 65536, 65537]))
def test_what_is_written_is_megatrons_format(
    tmp_path: Path, documents: list[list[int]], vocab_size: int
) -> None:
    write(tmp_path / "train", documents, vocab_size)
    assert read_by_hand(tmp_path / "train") == documents


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents)
def test_what_is_written_is_read(tmp_path: Path, documents: list[list[int]]) -> None:
    write(tmp_path / "train", documents)
    shard = TokenShard(tmp_path / "train")
    assert [shard.document(n).tolist() for n in range(shard.num_documents)] == documents
    assert shard.tokens.tolist() == list(chain(*documents))


@pytest.mark.parametrize(("vocab_size", "last"), [(65536, 65535), (65537, 65536), (2**20, 2**20 - 1)])
def test_the_last_token_of_a_vocabulary_fits(tmp_path: Path, vocab_size: int, last: int) -> None:
    write(tmp_path / "train", [[last, 0]], vocab_size)
    assert TokenShard(tmp_path / "train").tokens.tolist() == [last, 0]


@pytest.mark.parametrize("suffix", ["bin", "idx"])
@pytest.mark.parametrize("lost", [1, 20, 10**6])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, lost: int) -> None:
    write(tmp_path / "train", [[1, 2, 3], [4] * 50])
    file = tmp_path / f"train.{suffix}"
    os.truncate(file, max(0, file.stat().st_size - lost))
    with pytest.raises(UserError, match=rf"train\.{suffix}"):
        TokenShard(tmp_path / "train")


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.idx"):
        TokenShard(tmp_path / "train")
    (tmp_path / "train.idx").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"train\.idx is not the index of a token shard"):
        TokenShard(tmp_path / "train")


def test_megatron_core_reads_the_same(tmp_path: Path) -> None:
    module = pytest.importorskip(
        "megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed"
    )
    documents = [[5, 6, 7, 1], [8, 1], list(range(2, 300))]
    write(tmp_path / "train", documents)
    theirs = module.IndexedDataset(str(tmp_path / "train"))
    assert [theirs[n].tolist() for n in range(len(theirs))] == documents
    assert theirs.document_indices.tolist() == [0, 1, 2, 3]


def test_shards_of_megatron_core_are_read(tmp_path: Path) -> None:
    module = pytest.importorskip(
        "megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed"
    )
    torch = pytest.importorskip("torch")
    documents = [[5, 6, 7, 1], [8, 1], list(range(2, 300))]
    builder = module.IndexedDatasetBuilder(str(tmp_path / "train.bin"), dtype=np.uint16)
    for document in documents:
        builder.add_item(torch.tensor(document))
        builder.end_document()
    builder.finalize(str(tmp_path / "train.idx"))
    shard = TokenShard(tmp_path / "train")
    assert [shard.document(n).tolist() for n in range(shard.num_documents)] == documents
