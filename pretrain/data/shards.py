"""Token shards in Megatron's indexed format: tokens in `.bin`, where each document lies in `.idx`.

Ours holds one sequence a document (more only where a document is longer than the format's int32 lengths can
say), and every document ends with the tokenizer's end token. Shards of others are read as they are.
"""

from __future__ import annotations

import os
from hashlib import sha256
from mmap import MADV_WILLNEED, PAGESIZE, mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pretrain.data.shard_index import (
    DTYPES,
    HEADER,
    MAGIC,
    VERSION,
    Index,
    map_file,
    pair_file,
    read_index,
)

LONGEST_SEQUENCE = 2**31 - 1


class ShardWriter:
    """Appends documents to `PREFIX.bin`; `close` writes `PREFIX.idx` and makes both durable."""

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        self._prefix = prefix
        self._code = 8 if vocab_size <= 65536 else 4
        self._bin = pair_file(prefix, "bin").open("wb")
        self._hash = sha256()
        self._lengths: list[np.ndarray] = []
        self._num_tokens = 0

    def append(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Add documents: their tokens joined, end tokens included, and the length of each."""
        data = tokens.astype(DTYPES[self._code]).tobytes()
        self._bin.write(data)
        self._hash.update(data)
        self._lengths.append(lengths.astype(np.int64))
        self._num_tokens += len(tokens)

    @property
    def num_tokens(self) -> int:
        """Tokens written so far, end tokens included."""
        return self._num_tokens

    def close(self) -> dict[str, str]:
        """Finish both files; returns the SHA-256 of each by its name."""
        _make_durable(self._bin)
        lengths, documents = _sequences(np.concatenate([np.empty(0, np.int64), *self._lengths]))
        offsets = np.zeros(len(lengths), np.int64)
        np.cumsum(lengths[:-1], out=offsets[1:])
        offsets *= np.dtype(DTYPES[self._code]).itemsize
        header = HEADER.pack(MAGIC, VERSION, self._code, len(lengths), len(documents))
        hashed = sha256()
        with pair_file(self._prefix, "idx").open("wb") as file:
            for part in (header, lengths.astype("<i4").data, offsets.data, documents.data):
                file.write(part)
                hashed.update(part)
            _make_durable(file)
        names = [pair_file(self._prefix, suffix).name for suffix in ("bin", "idx")]
        return dict(zip(names, [self._hash.hexdigest(), hashed.hexdigest()], strict=True))


class TokenShard:
    """The tokens of a shard's documents, one after another, read as they are needed.

    Sizes are checked here and contents are not: that is for `pretrain data verify`.
    """

    def __init__(self, prefix: Path, *, sampled: bool = False) -> None:
        """`sampled`: a few documents far apart are all that is wanted."""
        index = read_index(prefix, at_random=sampled)
        mapped = map_file(pair_file(prefix, "bin"), at_random=True) if index.num_tokens else None
        self._show(mapped, index, 0, index.num_documents)

    def _show(self, mapped: mmap | None, index: Index, first: int, last: int) -> None:
        self._mapped, self._index, self._first, self._last = mapped, index, first, last
        self._before = index.start(first)
        tokens = np.frombuffer(mapped or b"", index.dtype)
        self.tokens = tokens[self._before : index.start(last)]

    def view(self, first: int, last: int) -> TokenShard:
        """The documents from `first` up to `last` as a shard of their own, without a copy."""
        assert 0 <= first <= last <= self.num_documents
        shown = TokenShard.__new__(TokenShard)
        shown._show(self._mapped, self._index, self._first + first, self._first + last)
        return shown

    @property
    def num_tokens(self) -> int:
        """All tokens, end tokens included."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents, of which in shards of ours each ends with the end token."""
        return self._last - self._first

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document."""
        return np.diff(self.starts())

    def start(self, number: int) -> int:
        """The place in `tokens` at which a document begins; of the one after the last, their number."""
        return self._index.start(self._first + number) - self._before

    def starts(self, first: int = 0, last: int | None = None) -> np.ndarray:
        """`start` of the documents from `first` to `last`, that one included; 8 bytes each."""
        last = self.num_documents if last is None else last
        return self._index.starts(self._first + first, self._first + last) - self._before

    def will_need(self, first: int, last: int) -> None:
        """Have the system begin to read `tokens[first:last]`, which are asked for soon; returns at once."""
        itemsize = self._index.dtype.itemsize
        start = (self._before + first) * itemsize // PAGESIZE * PAGESIZE
        end = (self._before + min(last, self.num_tokens)) * itemsize
        if self._mapped is not None and start < end:
            self._mapped.madvise(MADV_WILLNEED, start, end - start)

    def document(self, number: int) -> np.ndarray:
        """The tokens of one document."""
        if not 0 <= number < self.num_documents:
            raise IndexError(number)
        return self.tokens[self.start(number) : self.start(number + 1)]


def _sequences(documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the lengths of documents to those of sequences, and the first sequence of each document."""
    pieces = np.maximum(1, -(-documents // LONGEST_SEQUENCE))
    firsts = np.zeros(len(documents) + 1, np.int64)
    np.cumsum(pieces, out=firsts[1:])
    lengths = np.full(firsts[-1], LONGEST_SEQUENCE)
    lengths[firsts[1:] - 1] = documents - (pieces - 1) * LONGEST_SEQUENCE
    return lengths, firsts


def _make_durable(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
