"""The index of a token shard, `PREFIX.idx`: which tokens of `PREFIX.bin` each document is.

Megatron's format, little-endian: magic, u64 version, u8 dtype code, u64 sequences, u64 document indices; then
the int32 length and the int64 byte offset of every sequence, and the int64 number of the sequence at which
each document begins (and the end). A document is one sequence or several, or none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import ACCESS_READ, MADV_RANDOM, mmap
from pathlib import Path

import numpy as np

from pretrain.errors import UserError

MAGIC = b"MMIDIDX\x00\x00"
OLD_MAGIC = (
    b"TNTIDX\x00\x00"  # fairseq's first format, which gpt-neox and older Megatrons call lazy or cached
)
HEADER = struct.Struct("<9sQBQQ")
VERSION = 1
# The codes of all writers, but for 6 and 7: floats, whose widths differ from one to the next.
DTYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}
FLOATS = (6, 7)


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index, mapped rather than read."""

    dtype: np.dtype
    lengths: np.ndarray  # tokens of each sequence
    offsets: np.ndarray  # bytes before each sequence
    documents: np.ndarray  # first sequence of each document, and the number of sequences

    @property
    def num_documents(self) -> int:
        """Documents, empty ones included."""
        return len(self.documents) - 1

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences."""
        if not len(self.lengths):
            return 0
        return int(self.offsets[-1]) // self.dtype.itemsize + int(self.lengths[-1])

    def start(self, document: int) -> int:
        """The first token of a document; of the one after the last, the number of tokens."""
        sequence = int(self.documents[document])
        if sequence == len(self.offsets):
            return self.num_tokens
        return int(self.offsets[sequence]) // self.dtype.itemsize

    def starts(self, first: int, last: int) -> np.ndarray:
        """`start` of the documents from `first` to `last`, that one included."""
        sequences = np.asarray(self.documents[first : last + 1])
        inside = sequences < len(self.offsets)
        starts = np.full(len(sequences), self.num_tokens)
        starts[inside] = self.offsets[sequences[inside]] // self.dtype.itemsize
        return starts


def pair_file(prefix: Path, suffix: str) -> Path:
    """`PREFIX.bin` or `PREFIX.idx`; a prefix may have dots of its own."""
    return prefix.with_name(f"{prefix.name}.{suffix}")


def read_index(prefix: Path, *, at_random: bool = False) -> Index:
    """The index of a pair, once the sizes of both files agree with it; looks at both of its ends only."""
    file = pair_file(prefix, "idx")
    code, num_sequences, num_indices = _read_header(file)
    expected = HEADER.size + 12 * num_sequences + 8 * num_indices
    size = file.stat().st_size
    if num_sequences and size == expected + num_sequences:
        raise UserError(f"{file} is of a multimodal dataset (it has a mode for every sequence), not of text.")
    if size != expected or not num_indices:
        raise wrong_size(file, expected)
    mapped, after_lengths = map_file(file, at_random=at_random), HEADER.size + 4 * num_sequences
    index = Index(
        dtype=np.dtype(DTYPES[code]),
        lengths=np.frombuffer(mapped, "<i4", num_sequences, HEADER.size),
        offsets=np.frombuffer(mapped, "<i8", num_sequences, after_lengths),
        documents=np.frombuffer(mapped, "<i8", num_indices, after_lengths + 8 * num_sequences),
    )
    _check_ends(file, index)
    data = pair_file(prefix, "bin")
    if not data.is_file() or data.stat().st_size != index.num_tokens * index.dtype.itemsize:
        raise wrong_size(data, index.num_tokens * index.dtype.itemsize)
    return index


def map_file(file: Path, *, at_random: bool) -> mmap:
    """A file as memory. `at_random`: only what is touched is read, not megabytes around it."""
    with file.open("rb") as opened:
        mapped = mmap(opened.fileno(), 0, access=ACCESS_READ)
    if at_random:
        mapped.madvise(MADV_RANDOM)
    return mapped


def wrong_size(file: Path, expected: int) -> UserError:
    """A file is shorter or longer than what the index says."""
    size = file.stat().st_size if file.is_file() else 0
    return UserError(
        f"{file} has {size:,} bytes where {expected:,} are expected: it is damaged or half copied."
        " Copy it again, or build it again."
    )


def _read_header(file: Path) -> tuple[int, int, int]:
    try:
        with file.open("rb") as opened:
            header = opened.read(HEADER.size)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if header.startswith(OLD_MAGIC):
        raise UserError(f"{file} is in fairseq's first format; write it again with --dataset-impl mmap.")
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise UserError(f"{file} is not the index of a token shard (Megatron's indexed format).")
    _, version, code, num_sequences, num_indices = HEADER.unpack(header)
    if code in FLOATS and version == VERSION:
        raise UserError(f"{file}: dtype code {code} means floating-point numbers, which are no token ids.")
    if version != VERSION or code not in DTYPES:
        raise UserError(f"{file}: version {version} with dtype code {code} is not known here.")
    return code, num_sequences, num_indices


def _check_ends(file: Path, index: Index) -> None:
    num_sequences = len(index.lengths)
    if index.documents[0] != 0 or index.documents[-1] != num_sequences:
        raise UserError(
            f"{file}: its documents run from sequence {index.documents[0]:,} to {index.documents[-1]:,},"
            f" where it has {num_sequences:,} sequences (some tools forget them when they merge). Write it"
            " again."
        )
    if num_sequences and (index.offsets[0] != 0 or index.offsets[-1] < 0 or index.lengths[-1] < 0):
        raise UserError(
            f"{file}: its sequences begin at byte {index.offsets[0]:,}, and the last at {index.offsets[-1]:,}"
            f" with {index.lengths[-1]:,} tokens: it is damaged, or its writer counted in 32 bits. Write it"
            " again."
        )
