"""Token shards in Megatron's indexed format: tokens in `.bin`, where each document lies in `.idx`.

`.idx`, little-endian: magic, u64 version, u8 dtype code, u64 sequences, u64 document indices; then the int32
length and int64 byte offset of every sequence, and the int64 sequence number at which each document begins
(and the end). Ours holds one sequence a document. Every document ends with the tokenizer's end token.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pretrain.errors import UserError

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
VERSION = 1
DTYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}  # of Megatron-LM


class ShardWriter:
    """Appends documents to `PREFIX.bin`; `close` writes `PREFIX.idx` and makes both durable."""

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        self._prefix = prefix
        self._code = 8 if vocab_size <= 65536 else 4
        self._bin = _file(prefix, "bin").open("wb")
        self._hash = sha256()
        self._lengths: list[np.ndarray] = []

    def append(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Add documents: their tokens joined, end tokens included, and the length of each."""
        data = tokens.astype(DTYPES[self._code]).tobytes()
        self._bin.write(data)
        self._hash.update(data)
        self._lengths.append(lengths.astype(np.int32))

    @property
    def num_tokens(self) -> int:
        """Tokens written so far, end tokens included."""
        return sum(int(lengths.sum()) for lengths in self._lengths)

    def close(self) -> dict[str, str]:
        """Finish both files; returns the SHA-256 of each by its name."""
        _make_durable(self._bin)
        lengths = np.concatenate([np.empty(0, np.int32), *self._lengths])
        offsets = np.zeros(len(lengths), np.int64)
        np.cumsum(lengths[:-1], out=offsets[1:])
        offsets *= np.dtype(DTYPES[self._code]).itemsize
        documents = np.arange(len(lengths) + 1, dtype=np.int64)
        header = HEADER.pack(MAGIC, VERSION, self._code, len(lengths), len(documents))
        index = b"".join([header, lengths.tobytes(), offsets.tobytes(), documents.tobytes()])
        with _file(self._prefix, "idx").open("wb") as file:
            file.write(index)
            _make_durable(file)
        names = [_file(self._prefix, suffix).name for suffix in ("bin", "idx")]
        return dict(zip(names, [self._hash.hexdigest(), sha256(index).hexdigest()], strict=True))


class TokenShard:
    """The tokens of a shard's documents, one after another, read as they are needed."""

    def __init__(self, prefix: Path) -> None:
        index = _file(prefix, "idx")
        self._code, num_sequences, num_documents = _read_header(index)
        self.lengths, offsets = _read_index(index, num_sequences, num_documents)
        dtype = np.dtype(DTYPES[self._code])
        end = int(offsets[-1]) + int(self.lengths[-1]) * dtype.itemsize if num_sequences else 0
        self.tokens = _map(_file(prefix, "bin"), dtype, 0, end // dtype.itemsize)
        self._starts = offsets
        self._itemsize = dtype.itemsize

    @property
    def num_tokens(self) -> int:
        """All tokens, end tokens included."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents, of which each ends with the end token."""
        return len(self.lengths)

    def document(self, number: int) -> np.ndarray:
        """The tokens of one document."""
        start = int(self._starts[number]) // self._itemsize
        return self.tokens[start : start + int(self.lengths[number])]


def _file(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(f"{prefix.name}.{suffix}")


def _make_durable(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _read_header(index: Path) -> tuple[int, int, int]:
    try:
        with index.open("rb") as file:
            header = file.read(HEADER.size)
    except OSError as error:
        raise UserError(f"{index} cannot be read: {error.strerror}") from error
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise UserError(f"{index} is not the index of a token shard (Megatron's indexed format).")
    _, version, code, num_sequences, num_documents = HEADER.unpack(header)
    if version != VERSION or code not in DTYPES:
        raise UserError(f"{index}: version {version} with dtype code {code} is not known here.")
    return code, num_sequences, num_documents


def _read_index(index: Path, num_sequences: int, num_documents: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = _map(index, np.dtype(np.int32), HEADER.size, num_sequences)
    offsets = _map(index, np.dtype(np.int64), HEADER.size + lengths.nbytes, num_sequences)
    expected = HEADER.size + lengths.nbytes + offsets.nbytes + 8 * num_documents
    if index.stat().st_size != expected:
        raise _wrong_size(index, expected)
    return lengths, offsets


def _map(file: Path, dtype: np.dtype, offset: int, count: int) -> np.ndarray:
    """`count` numbers at `offset`, mapped rather than read."""
    needed = offset + count * dtype.itemsize
    if not file.is_file() or file.stat().st_size < needed:
        raise _wrong_size(file, needed)
    if not count:  # nothing to map
        return np.empty(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=(count,))


def _wrong_size(file: Path, expected: int) -> UserError:
    size = file.stat().st_size if file.is_file() else 0
    return UserError(
        f"{file} has {size:,} bytes where {expected:,} are expected: it is damaged or half copied."
        f" Copy it again, or delete {file.parent} so that it is built anew."
    )
