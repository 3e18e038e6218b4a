"""How the documents of a shard become sequences of one length: joined and cut, or fitted in without a cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pretrain.data.options import Packing
from pretrain.data.shards import TokenShard

PADDING = (
    -100
)  # where a row holds no token; as a target it counts for nothing (megatron_lite.model.loss.IGNORE)
STRETCH = 2**20  # documents that are looked at together
SCANNED = 10 * STRETCH  # documents after which a share is known well enough


@dataclass(frozen=True, kw_only=True)
class Waste:
    """What a packing costs: shares from 0 to 1, of the first SCANNED documents where there are more."""

    padding: float  # of the tokens in sequences
    cut: float  # of documents, those that lie in more than one sequence
    lost_tokens: int  # at the end of the shard, in no sequence

    def describe(self) -> str:
        """For people."""
        return (
            f"{self.padding:.2%} padding, {self.cut:.2%} of documents cut, {self.lost_tokens:,} tokens lost"
        )


class Packed(Protocol):
    """The sequences of a shard by number: S tokens and, one further, the target of the last."""

    def __len__(self) -> int: ...

    def __getitem__(self, j: int) -> np.ndarray:
        """Sequence j, S + 1 numbers of any integer type; PADDING where there is nothing."""

    def waste(self) -> Waste:
        """What it costs."""


class Joined:
    """Sequence j is tokens [j*S, j*S + S] of a shard: nothing is lost but the last partial sequence.

    The last token is the first of the next sequence, so every token but the shard's first is once a target.
    """

    def __init__(self, shard: TokenShard, sequence_length: int) -> None:
        self._shard = shard
        self._tokens = np.asarray(shard.tokens)  # slices of a memmap itself take ten times as long
        self._length = sequence_length

    def __len__(self) -> int:
        return max(0, (len(self._tokens) - 1) // self._length)

    def __getitem__(self, j: int) -> np.ndarray:
        if not 0 <= j < len(self):
            raise IndexError(j)
        start = j * self._length
        return self._tokens[start : start + self._length + 1]

    def waste(self) -> Waste:
        """No padding; most documents that are long beside a sequence are cut."""
        seen = cut = 0
        for starts in stretches(self._shard, STRETCH, SCANNED):
            first, last = starts[:-1], starts[1:] - 1
            seen += len(first)
            cut += int((first // self._length < last // self._length).sum())
        lost = len(self._tokens) - len(self) * self._length
        return Waste(padding=0.0, cut=cut / max(1, seen), lost_tokens=lost)


def stretches(shard: TokenShard, size: int, limit: int | None = None) -> Iterator[np.ndarray]:
    """Where documents begin and the last one ends, for `size` documents after the other."""
    end = min(shard.num_documents, limit or shard.num_documents)
    for first in range(0, end, size):
        yield shard.starts(first, min(first + size, end))


def pack(shard: TokenShard, sequence_length: int, packing: Packing) -> Packed:
    """The sequences of a shard."""
    if packing == "joined":
        return Joined(shard, sequence_length)
    from pretrain.data.best_fit import BestFit

    return BestFit(shard, sequence_length)
