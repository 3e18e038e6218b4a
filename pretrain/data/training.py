"""The rows that a run reads: global sequence i as a pure function of the seed, the stages and i.

Neither ranks nor micro-batches nor a resume nor a growing batch come into it, so none of them can change what
is read.
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
    """What the data needs to know of a stage."""

    @property
    def num_sequences(self) -> int:
        """Its sequences, whole global batches of them."""

    @property
    def sequence_length(self) -> int:
        """Tokens in each."""

    @property
    def mix(self) -> Mapping[str, float]:
        """Weight of each source."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a sequence comes from: sequence `index` of `source`, read for the (`epoch` + 1)-th time."""

    source: str
    sequence_length: int
    epoch: int
    index: int


class TrainingData:
    """All training sequences of a run, by number.

    A source's position goes on from one stage to the next that has sequences of the same length; for
    another length its text is cut anew and read in an order of its own. A source that runs out begins
    again in another order. The last stage is open-ended, so that skipping over a bad stretch cannot run
    out of numbers.

    Stages that end before sequence `first` are only counted: their sources need not be in the corpus.
    """

    def __init__(self, corpus: Corpus, stages: Sequence[MixedStage], seed: int, *, first: int = 0) -> None:
        self._seed = seed
        self._lengths = [stage.sequence_length for stage in stages]
        self._mixtures = [Mixture(stage.mix) for stage in stages]
        self._starts = [0, *accumulate(stage.num_sequences for stage in stages)]
        ahead = [
            (length, name)
            for length, mixture, end in zip(self._lengths, self._mixtures, self._starts[1:], strict=True)
            for name in mixture.names
            if end > first
        ]
        self._packed = {
            (length, name): packed
            for length in dict.fromkeys(self._lengths)
            for name, packed in _pack(corpus, _named(ahead, length), "train", length).items()
        }
        self._read_before = self._positions()
        self._order = lru_cache(maxsize=4 * len(self._packed))(self._new_order)

    def __len__(self) -> int:
        """Sequences in the whole run."""
        return self._starts[-1]

    def origin(self, i: int) -> Origin:
        """Where sequence i comes from."""
        stage = self._stage(i)
        mixture, within = self._mixtures[stage], i - self._starts[stage]
        source, length = mixture.source(within), self._lengths[stage]
        position = self._read_before[stage].get((length, source), 0) + mixture.count(source, within)
        epoch, place = divmod(position, len(self._packed[length, source]))
        index = self._order(length, source, epoch)[place]
        return Origin(source=source, sequence_length=length, epoch=epoch, index=index)

    def sequence(self, i: int) -> np.ndarray:
        """The S + 1 tokens of sequence i, int64."""
        origin = self.origin(i)
        return self._packed[origin.sequence_length, origin.source][origin.index].astype(np.int64)

    def rows(self, first: int, count: int) -> np.ndarray:
        """Sequences `first` to `first + count`, all of one length, int64 [count, S + 1]."""
        rows = np.empty((count, self._lengths[self._stage(first)] + 1), dtype=np.int64)
        for row in range(count):
            rows[row] = self.sequence(first + row)
        return rows

    def epochs(self) -> dict[str, float]:
        """How many times the run reads each source, at each length of sequence one after the other."""
        epochs: dict[str, float] = {}
        for (length, name), read in self._read_before[-1].items():
            if (length, name) in self._packed:
                epochs[name] = epochs.get(name, 0.0) + read / len(self._packed[length, name])
        return epochs

    def _stage(self, i: int) -> int:
        return min(bisect_right(self._starts, i), len(self._mixtures)) - 1

    def _positions(self) -> list[dict[tuple[int, str], int]]:
        """Sequences read of each length and source before every stage, and after the last."""
        positions: list[dict[tuple[int, str], int]] = [{}]
        for stage, mixture in enumerate(self._mixtures):
            read, length = dict(positions[-1]), self._lengths[stage]
            for name in mixture.names:
                count = mixture.count(name, self._starts[stage + 1] - self._starts[stage])
                read[length, name] = read.get((length, name), 0) + count
            positions.append(read)
        return positions

    def _new_order(self, length: int, source: str, epoch: int) -> Permutation:
        return Permutation(len(self._packed[length, source]), f"{self._seed}/{source}/{epoch}")


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


def _named(pairs: Iterable[tuple[int, str]], length: int) -> list[str]:
    """The sources that are read in sequences of `length`."""
    return sorted({name for own, name in pairs if own == length})


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
