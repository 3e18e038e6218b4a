"""Token shards: the format by hand, damaged sizes, views of documents."""

from __future__ import annotations

import os
import struct
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.shard_index import DTYPES, HEADER, MAGIC, VERSION, read_index
from pretrain.data.shards import ShardWriter, TokenShard, _sequences
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents, longest=st.integers(1, 9))
def test_a_document_too_long_for_the_format_is_several_sequences(
    tmp_path: Path, documents: list[list[int]], longest: int
) -> None:
    """The format's lengths are int32: the limit is lowered here to what a test can write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.data.shards.LONGEST_SEQUENCE", longest)
        write(tmp_path / "long", documents)
    shard = TokenShard(tmp_path / "long")
    assert [shard.document(n).tolist() for n in range(shard.num_documents)] == documents
    index = read_index(tmp_path / "long")
    assert index.lengths.max(initial=0) <= longest
    assert len(index.lengths) == sum(-(-len(document) // longest) for document in documents)


def test_lengths_at_the_limit_of_the_format() -> None:
    lengths, firsts = _sequences(np.array([2**31 - 1, 2**31, 5 * 2**31, 1]))
    assert lengths.max() == 2**31 - 1
    assert firsts.tolist() == [0, 1, 3, 9, 10]
    assert np.add.reduceat(lengths, firsts[:-1]).tolist() == [2**31 - 1, 2**31, 5 * 2**31, 1]


def stand_in(prefix: Path, code: int, lengths: list[int], documents: list[int]) -> None:
    """A pair of any size whose `.bin` is a hole in the file system."""
    itemsize = DTYPES[code]().itemsize
    offsets = np.cumsum([0, *lengths[:-1]], dtype=np.int64) * itemsize
    index = HEADER.pack(MAGIC, VERSION, code, len(lengths), len(documents))
    index += (
        np.array(lengths, np.int32).tobytes() + offsets.tobytes() + np.array(documents, np.int64).tobytes()
    )
    prefix.with_suffix(".idx").write_bytes(index)
    with prefix.with_suffix(".bin").open("wb") as file:
        os.truncate(file.fileno(), sum(lengths) * itemsize)


def test_offsets_beyond_four_and_documents_beyond_two_thousand_million(tmp_path: Path) -> None:
    stand_in(tmp_path / "large", 4, [2**31 - 1, 2**31 - 1, 3, 5], [0, 3, 4])
    with (tmp_path / "large.bin").open("r+b") as file:
        file.seek(4 * (2**32 - 2))
        file.write(np.arange(10, 18, dtype=np.int32).tobytes())
    shard = TokenShard(tmp_path / "large")
    assert shard.num_tokens == 2**32 + 6
    assert shard.lengths.tolist() == [2**32 + 1, 5]
    assert shard.document(0)[-3:].tolist() == [10, 11, 12]
    assert shard.document(1).tolist() == shard.view(1, 2).tokens.tolist() == [13, 14, 15, 16, 17]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents, data=st.data())
def test_a_view_is_a_shard_of_a_range_of_documents(
    tmp_path: Path, documents: list[list[int]], data: st.DataObject
) -> None:
    write(tmp_path / "train", documents)
    shard = TokenShard(tmp_path / "train")
    first = data.draw(st.integers(0, len(documents)))
    last = data.draw(st.integers(first, len(documents)))
    view = shard.view(first, last)
    part = documents[first:last]
    assert view.tokens.tolist() == list(chain(*part))
    assert view.num_tokens == sum(map(len, part))
    assert view.lengths.tolist() == list(map(len, part))
    assert [view.document(n).tolist() for n in range(view.num_documents)] == part
    assert view.view(0, len(part)).view(len(part) // 2, len(part)).num_documents == len(part) - len(part) // 2
    for start in range(len(view.tokens) + 1):
        view.will_need(start, start + 5)
    for outside in (-1, len(part)):
        with pytest.raises(IndexError):
            view.document(outside)


@pytest.mark.parametrize("suffix", ["bin", "idx"])
def test_a_file_that_is_too_long_is_named(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "train", [[1, 2, 3], [4] * 50])
    with (tmp_path / f"train.{suffix}").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=rf"train\.{suffix} has [\d,]+ bytes where [\d,]+ are expected"):
        TokenShard(tmp_path / "train")


@pytest.mark.parametrize(
    ("code", "documents", "words"),
    [
        (6, [0, 1], "floating-point"),
        (7, [0, 1], "floating-point"),
        (9, [0, 1], "dtype code 9 is not known"),
        (4, [0], "some tools forget them"),
        (4, [1, 1], "from sequence 1 to 1"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_reason(
    tmp_path: Path, code: int, documents: list[int], words: str
) -> None:
    stand_in(tmp_path / "odd", 4, [3], documents)
    index = bytearray((tmp_path / "odd.idx").read_bytes())
    index[17] = code
    (tmp_path / "odd.idx").write_bytes(index)
    with pytest.raises(UserError, match=words):
        TokenShard(tmp_path / "odd")


def test_an_index_whose_writer_counted_in_32_bits_is_refused(tmp_path: Path) -> None:
    stand_in(tmp_path / "odd", 4, [3, 4], [0, 1, 2])
    index = bytearray((tmp_path / "odd.idx").read_bytes())
    index[HEADER.size + 16 : HEADER.size + 24] = struct.pack("<q", -(2**31))
    (tmp_path / "odd.idx").write_bytes(index)
    with pytest.raises(UserError, match="counted in 32 bits"):
        TokenShard(tmp_path / "odd")


def test_the_first_format_of_fairseq_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "old.idx").write_bytes(b"TNTIDX\x00\x00" + bytes(100))
    with pytest.raises(UserError, match="fairseq's first format"):
        TokenShard(tmp_path / "old")
