"""Sequences that hold whole documents: best fit, longest first, within fixed blocks of documents.

A document is cut only where it is longer than a sequence, into as many full ones as it gives. What remains of
it, and every shorter document, goes where it leaves the least room; room that stays is padded. A block is
BLOCK_DOCUMENTS documents in a row and depends on nothing else, so its sequences are worked out when they are
read. Kept are 8 bytes a block and the KEPT_BLOCKS last used blocks, together some 60 MB.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pretrain.data.packing import PADDING, Waste, stretches
from pretrain.data.shards import TokenShard

BLOCK_DOCUMENTS = 2048
KEPT_BLOCKS = 1024
NUMBERS = 2**32  # more than there are sequences in a block


@dataclass(frozen=True, kw_only=True)
class Block:
    """Where the documents of a block go: first what long ones fill alone, then what is shared."""

    starts: np.ndarray  # of its documents in the shard, and the end of the last
    full_before: np.ndarray  # full sequences before each document, and of all
    order: np.ndarray  # documents with a remainder, by the sequence that holds it
    ends: np.ndarray  # in `order`, of each shared sequence

    def __len__(self) -> int:
        return int(self.full_before[-1]) + len(self.ends)


class BestFit:
    """Every token of a shard once an input, none lost."""

    def __init__(self, shard: TokenShard, sequence_length: int) -> None:
        self._shard = shard
        self._tokens = np.asarray(shard.tokens)
        self._length = sequence_length
        blocks = [len(_packed(starts, sequence_length)) for starts in stretches(shard, BLOCK_DOCUMENTS)]
        self._before = np.cumsum([0, *blocks])
        self._block = lru_cache(maxsize=KEPT_BLOCKS)(self._new_block)

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, j: int) -> np.ndarray:
        if not 0 <= j < len(self):
            raise IndexError(j)
        number = bisect_right(self._before, j) - 1
        block, within = self._block(number), j - int(self._before[number])
        row = np.full(self._length + 1, PADDING, np.int32)
        at = 0
        for start, end in _pieces(block, within, self._length):
            row[at : at + end - start] = self._tokens[start:end]
            at += end - start
        return row

    def waste(self) -> Waste:
        """Padding, and the documents that are longer than a sequence."""
        room, documents = len(self) * self._length, self._shard.num_documents
        cut = sum(
            int((np.diff(starts) > self._length).sum()) for starts in stretches(self._shard, BLOCK_DOCUMENTS)
        )
        padding = 1 - len(self._tokens) / room if room else 0.0
        return Waste(padding=padding, cut=cut / max(1, documents), lost_tokens=0)

    def _new_block(self, number: int) -> Block:
        first = number * BLOCK_DOCUMENTS
        last = min(first + BLOCK_DOCUMENTS, self._shard.num_documents)
        return _packed(self._shard.starts(first, last), self._length)


def _packed(starts: np.ndarray, sequence_length: int) -> Block:
    full, remainders = np.divmod(np.diff(starts), sequence_length)
    longest_first = np.argsort(-remainders, kind="stable")[: np.count_nonzero(remainders)]
    holder = np.array(_best_fit(remainders[longest_first].tolist(), sequence_length), np.int64)
    by_holder = np.argsort(holder, kind="stable")
    return Block(
        starts=starts,
        full_before=np.concatenate([[0], np.cumsum(full)]),
        order=longest_first[by_holder],
        ends=np.cumsum(np.bincount(holder)),
    )


def _best_fit(lengths: list[int], room: int) -> list[int]:
    """The number of the sequence that holds each piece, given longest first."""
    rooms: list[int] = []  # sorted: the room in a sequence, and its number below NUMBERS
    holders, opened = [], 0
    least = lengths[-1] * NUMBERS if lengths else 0  # where there is less room, nothing will fit
    for length in lengths:
        needed = length * NUMBERS
        at = bisect_left(rooms, needed)
        if at < len(rooms):
            found = rooms.pop(at)
        else:
            found, opened = room * NUMBERS + opened, opened + 1
        holders.append(found % NUMBERS)
        if found - needed >= least:
            insort(rooms, found - needed)
    return holders


def _pieces(block: Block, j: int, sequence_length: int) -> list[tuple[int, int]]:
    """The stretches of the shard's tokens that sequence j of a block is made of."""
    num_full = int(block.full_before[-1])
    if j < num_full:
        document = int(np.searchsorted(block.full_before, j, side="right")) - 1
        start = int(block.starts[document]) + (j - int(block.full_before[document])) * sequence_length
        return [(start, min(start + sequence_length + 1, int(block.starts[document + 1])))]
    j -= num_full
    documents = block.order[block.ends[j - 1] if j else 0 : block.ends[j]]
    starts, ends = block.starts[documents], block.starts[documents + 1]
    first = ends - (ends - starts) % sequence_length
    return list(zip(first.tolist(), ends.tolist(), strict=True))
