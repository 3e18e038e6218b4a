"""The rows that a run reads: global sequence i as a pure function of the seed, the stages and i.

Neither ranks nor micro-batches nor a resume come into it, so none of them can change what is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

import numpy as np

from pretrain.data.corpus import Corpus
from pretrain.data.mixture import Mixture
from pretrain.data.order import Permutation
from pretrain.data.packing import PackedShard
from pretrain.errors import UserError


class MixedStage(Protocol):
    """What the data needs to know of a stage: its length in whole global batches, and its sources."""

    @property
    def tokens(self) -> int:
        """Length of the stage."""

    @property
    def mix(self) -> Mapping[str, float]:
        """Weight of each source."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a sequence comes from: sequence `index` of `source`, read for the (`epoch` + 1)-th time."""

    source: str
    epoch: int
    index: int


class TrainingData:
    """All training sequences of a run, by number.

    A source's position goes on from one stage to the next. A source that runs out begins again in another
    order. The last stage is open-ended, so that skipping over a bad stretch cannot run out of numbers.
    """

    def __init__(
        self,
        corpus: Corpus,
        stages: Sequence[MixedStage],
        batch_sequences: int,
        sequence_length: int,
        seed: int,
    ) -> None:
        for stage in stages:
            assert stage.tokens % (batch_sequences * sequence_length) == 0, "a batch never mixes two stages"
        self._length, self._seed = sequence_length, seed
        self._mixtures = [Mixture(stage.mix) for stage in stages]
        self._starts = [0, *accumulate(stage.tokens // sequence_length for stage in stages)]
        names = sorted({name for mixture in self._mixtures for name in mixture.names})
        self._packed = _pack(corpus, names, "train", sequence_length)
        self._read_before = self._positions(names)
        self._order = lru_cache(maxsize=4 * len(names))(self._new_order)

    def __len__(self) -> int:
        """Sequences in the whole run."""
        return self._starts[-1]

    def origin(self, i: int) -> Origin:
        """Where sequence i comes from."""
        stage = min(bisect_right(self._starts, i), len(self._mixtures)) - 1
        mixture, within = self._mixtures[stage], i - self._starts[stage]
        source = mixture.source(within)
        position = self._read_before[stage][source] + mixture.count(source, within)
        epoch, place = divmod(position, len(self._packed[source]))
        return Origin(source=source, epoch=epoch, index=self._order(source, epoch)[place])

    def sequence(self, i: int) -> np.ndarray:
        """The S + 1 tokens of sequence i, int64."""
        origin = self.origin(i)
        return self._packed[origin.source][origin.index].astype(np.int64)

    def rows(self, first: int, count: int) -> np.ndarray:
        """Sequences `first` to `first + count`, int64 [count, S + 1]."""
        rows = np.empty((count, self._length + 1), dtype=np.int64)
        for row in range(count):
            rows[row] = self.sequence(first + row)
        return rows

    def epochs(self) -> dict[str, float]:
        """How many times the run reads each source."""
        return {name: read / len(self._packed[name]) for name, read in self._read_before[-1].items()}

    def _positions(self, names: Iterable[str]) -> list[dict[str, int]]:
        """Sequences read of each source before every stage, and after the last."""
        positions = [dict.fromkeys(names, 0)]
        for mixture, start, end in zip(self._mixtures, self._starts, self._starts[1:], strict=False):
            read = {name: mixture.count(name, end - start) for name in mixture.names}
            positions.append({name: before + read.get(name, 0) for name, before in positions[-1].items()})
        return positions

    def _new_order(self, source: str, epoch: int) -> Permutation:
        return Permutation(len(self._packed[source]), f"{self._seed}/{source}/{epoch}")


class ValidationData:
    """Held-out sequences of each source, the same every time."""

    def __init__(self, corpus: Corpus, sequence_length: int) -> None:
        self._length = sequence_length
        names = [name for name, source in corpus.sources.items() if source.manifest.validation_share]
        self._packed = _pack(corpus, names, "validation", sequence_length)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources that hold text out: all, or none if `data.validation_share` is 0."""
        return tuple(self._packed)

    def rows(self, source: str, count: int) -> np.ndarray:
        """At most `count` sequences, evenly spaced over what is held out, int64 [.., S + 1]."""
        packed = self._packed[source]
        count = min(count, len(packed))
        chosen = [packed[row * len(packed) // count] for row in range(count)]
        return np.array(chosen, dtype=np.int64).reshape(count, self._length + 1)


def _pack(corpus: Corpus, names: Iterable[str], side: str, sequence_length: int) -> dict[str, PackedShard]:
    """The sequences of one side of these sources; an error for a source that has none."""
    packed = {name: PackedShard(getattr(corpus.sources[name], side), sequence_length) for name in names}
    short = [name for name, shard in packed.items() if not len(shard)]
    if short:
        raise UserError("\n".join(_too_little(corpus, name, side, sequence_length) for name in short))
    return packed


def _too_little(corpus: Corpus, name: str, side: str, sequence_length: int) -> str:
    manifest = corpus.sources[name].manifest
    remedy = "" if side == "train" else ", raise data.validation_share (or set it to 0: no validation)"
    return (
        f"data.sources.{name}: too little text for one {side} sequence of {sequence_length} tokens and one"
        f" more. There are {manifest.describe()}. Add text{remedy}, or lower batch.sequence_length."
    )
