"""Sequences cut from a shard: documents joined end to end, nothing lost but the last partial sequence."""

from __future__ import annotations

import numpy as np

from pretrain.data.shards import TokenShard


class PackedShard:
    """Sequence j is tokens [j*S, j*S + S] of a shard: S inputs and, one further, their S targets.

    The last token is the first of the next sequence, so every token but the shard's first is once a target.
    """

    def __init__(self, shard: TokenShard, sequence_length: int) -> None:
        self._tokens = shard.tokens
        self._length = sequence_length

    def __len__(self) -> int:
        return max(0, (len(self._tokens) - 1) // self._length)

    def __getitem__(self, j: int) -> np.ndarray:
        if not 0 <= j < len(self):
            raise IndexError(j)
        start = j * self._length
        return self._tokens[start : start + self._length + 1]
