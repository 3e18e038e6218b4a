"""Everything that can be wrong with one pair of `.bin` and `.idx`, read from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from pretrain.data.checksums import BLOCK_BYTES, hash_file
from pretrain.data.progress import Task
from pretrain.data.shard_index import Index, pair_file, read_index
from pretrain.data.shards import TokenShard
from pretrain.errors import UserError

BLOCK = 2**20  # sequences or documents looked at at once


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What tokens must be. None: not known, so not checked."""

    vocab_size: int | None
    end_id: int | None
    empty_documents: bool  # whether there may be any: ours hold the end token at least


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What was found."""

    problems: tuple[str, ...]
    sha256: dict[str, str]  # of each file, by its name
    documents: int
    tokens: int


def check_pair(prefix: Path, rules: Rules, task: Task) -> Pair:
    """Read a pair; `task` advances by bytes."""
    index_file, data_file = pair_file(prefix, "idx"), pair_file(prefix, "bin")
    hashes, problems = {}, []
    index: Index | None = None
    try:
        index = read_index(prefix)
    except UserError as error:
        problems.append(str(error))
    if index_file.is_file():
        hashes[index_file.name] = hash_file(index_file, task.advance)
    if data_file.is_file():
        ids = _Ids(data_file, index.dtype if index else None, rules.vocab_size)
        hashes[data_file.name] = ids.read(task)
        problems += ids.problems()
    if index is not None:
        found = list(_index_problems(index_file, index))
        problems += found or _document_problems(prefix, rules)
    return Pair(
        problems=tuple(problems),
        sha256=hashes,
        documents=index.num_documents if index else 0,
        tokens=index.num_tokens if index else 0,
    )


class _Ids:
    """Token ids in their range, looked at while the file is hashed: it is read once."""

    def __init__(self, file: Path, dtype: np.dtype | None, vocab_size: int | None) -> None:
        self._file, self._dtype = file, dtype
        self._largest = None if vocab_size is None else vocab_size - 1
        self._count, self._seen = 0, 0
        self._first: tuple[int, int] | None = None  # place and value

    def read(self, task: Task) -> str:
        digest = sha256()
        with self._file.open("rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                digest.update(block)
                if self._dtype is not None:
                    whole = len(block) // self._dtype.itemsize * self._dtype.itemsize
                    self._look(np.frombuffer(block[:whole], self._dtype))
                task.advance(len(block))
        return digest.hexdigest()

    def _look(self, tokens: np.ndarray) -> None:
        largest = np.iinfo(tokens.dtype).max if self._largest is None else self._largest
        if len(tokens) and (tokens.max() > largest or tokens.min() < 0):
            wrong = np.flatnonzero((tokens > largest) | (tokens < 0))
            self._first = self._first or (self._seen + int(wrong[0]), int(tokens[wrong[0]]))
            self._count += len(wrong)
        self._seen += len(tokens)

    def problems(self) -> Iterator[str]:
        if self._first is not None:
            place, value = self._first
            allowed = "at least 0" if self._largest is None else f"0 to {self._largest:,}"
            yield (
                f"{self._file}: {self._count:,} token ids are outside the vocabulary ({allowed}); the first"
                f" is {value:,}, token {place:,}."
            )


def _index_problems(file: Path, index: Index) -> Iterator[str]:
    """Sequences follow on each other and documents on each other: at most one complaint of each."""
    itemsize, end = index.dtype.itemsize, 0
    for first in range(0, len(index.lengths), BLOCK):
        lengths = index.lengths[first : first + BLOCK].astype(np.int64)
        starts = end + np.concatenate([[0], np.cumsum(lengths)]) * itemsize
        wrong = (index.offsets[first : first + BLOCK] != starts[:-1]) | (lengths < 0)
        if wrong.any():
            sequence = first + int(wrong.argmax())
            yield f"{file}: sequence {sequence:,} does not begin where the one before it ends."
            break
        end = int(starts[-1])
    for first in range(0, index.num_documents, BLOCK):
        wrong = np.diff(index.documents[first : first + BLOCK + 1]) < 0
        if wrong.any():
            document = first + int(wrong.argmax())
            yield f"{file}: document {document:,} ends before it begins. Write it again."
            break


def _document_problems(prefix: Path, rules: Rules) -> list[str]:
    """Documents that are empty, or end with another token than they should."""
    shard, file = TokenShard(prefix), pair_file(prefix, "bin")
    num_empty, num_open, first_open = 0, 0, -1
    for first in range(0, shard.num_documents, BLOCK):
        starts = shard.starts(first, min(first + BLOCK, shard.num_documents))
        filled = np.flatnonzero(np.diff(starts))
        num_empty += len(starts) - 1 - len(filled)
        if rules.end_id is not None:
            unended = filled[shard.tokens[starts[filled + 1] - 1] != rules.end_id]
            if len(unended) and not num_open:
                first_open = first + int(unended[0])
            num_open += len(unended)
    problems = []
    if num_empty and not rules.empty_documents:
        problems.append(f"{file}: {num_empty:,} documents are empty.")
    if num_open:
        problems.append(
            f"{file}: {num_open:,} of {shard.num_documents:,} documents do not end with the end token"
            f" ({rules.end_id}); the first is document {first_open:,}."
        )
    return problems
