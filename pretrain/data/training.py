"""The rows that a run reads: global sequence i as a pure function of the seed, the stages and i.

Neither ranks nor micro-batches nor a resume nor a growing batch come into it, so none of them can change what
is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

import numpy as np

from pretrain.data.corpus import Corpus
from pretrain.data.held_out import ValidationData as ValidationData
from pretrain.data.jumps import Jump, jumped, jumps_over
from pretrain.data.mixture import Mixture
from pretrain.data.options import Packing
from pretrain.data.order import Permutation
from pretrain.data.packing import Packed
from pretrain.data.sequences import pack_sources


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

    def __init__(
        self,
        corpus: Corpus,
        stages: Sequence[MixedStage],
        seed: int,
        *,
        first: int = 0,
        packing: Packing = "joined",
    ) -> None:
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
            for name, packed in pack_sources(corpus, _named(ahead, length), "train", length, packing).items()
        }
        self._order = lru_cache(maxsize=4 * len(self._packed))(self._new_order)
        self._jump([])

    def jumps_over(self, first: int, last: int, more: int) -> list[Jump]:
        """What to leave out so that sequence `first` is read behind all up to `last`, and `more` of those."""
        return list(jumps_over(self._starts, first, last, more))

    def without(self, jumps: Sequence[Jump]) -> TrainingData:
        """The sequences of the same run with these jumps and no others."""
        other = copy(self)
        other._jump(jumps)
        return other

    def _jump(self, jumps: Sequence[Jump]) -> None:
        self._jumps = jumps
        self._read_before: list[dict[tuple[int, str], int]] = [{}]  # of each length and source, by stage
        for stage, end in enumerate(self._starts[1:-1]):
            self._read_before.append(self._after(stage, end - 1, more=1))

    def __len__(self) -> int:
        """Sequences in the whole run."""
        return self._starts[-1]

    def origin(self, i: int) -> Origin:
        """Where sequence i comes from."""
        stage = self._stage(i)
        mixture, within = self._mixtures[stage], self._within(stage, i)
        source, length = mixture.source(within), self._lengths[stage]
        position = self._read_before[stage].get((length, source), 0) + mixture.count(source, within)
        epoch, place = divmod(position, len(self._packed[length, source]))
        index = self._order(length, source, epoch)[place]
        return Origin(source=source, sequence_length=length, epoch=epoch, index=index)

    def sequence(self, i: int) -> np.ndarray:
        """The S + 1 tokens of sequence i, int32; PADDING where there is none."""
        return self.rows(i, 1)[0]

    def rows(self, first: int, count: int) -> np.ndarray:
        """Sequences `first` to `first + count`, all of one length, int32 [count, S + 1]."""
        rows = np.empty((count, self._lengths[self._stage(first)] + 1), dtype=np.int32)
        for row in range(count):
            origin = self.origin(first + row)
            rows[row] = self._packed[origin.sequence_length, origin.source][origin.index]
        return rows

    @property
    def sources(self) -> Mapping[tuple[int, str], Packed]:
        """The sequences of each length and source that the run reads."""
        return self._packed

    def read_before(self, i: int) -> dict[tuple[int, str], int]:
        """How many sequences of each length and source are read or jumped over before sequence i is."""
        return self._after(self._stage(i), i)

    def reads(self, i: int) -> dict[str, Fraction]:
        """How often the first i sequences read each source, at one length after the other."""
        reads: dict[str, Fraction] = {}
        for (length, name), read in self.read_before(i).items():
            if (length, name) in self._packed:
                reads[name] = reads.get(name, Fraction()) + Fraction(read, len(self._packed[length, name]))
        return reads

    def epochs(self) -> dict[str, float]:
        """How many times the run reads each source."""
        return {name: float(reads) for name, reads in self.reads(len(self)).items()}

    def _stage(self, i: int) -> int:
        return min(bisect_right(self._starts, i), len(self._mixtures)) - 1

    def _within(self, stage: int, i: int) -> int:
        """Which of a stage's sequences is read for the one that the timeline calls i."""
        return i - self._starts[stage] + jumped(self._jumps, self._starts, stage, i)

    def _after(self, stage: int, i: int, more: int = 0) -> dict[tuple[int, str], int]:
        """Sequences gone of each length and source before sequence i of a stage, or `more` behind that."""
        mixture, length, read = self._mixtures[stage], self._lengths[stage], dict(self._read_before[stage])
        for name in mixture.names:
            gone = mixture.count(name, self._within(stage, i) + more)
            read[length, name] = read.get((length, name), 0) + gone
        return read

    def _new_order(self, length: int, source: str, epoch: int) -> Permutation:
        return Permutation(len(self._packed[length, source]), f"{self._seed}/{source}/{epoch}")


def _named(pairs: Iterable[tuple[int, str]], length: int) -> list[str]:
    """The sources that are read in sequences of `length`."""
    return sorted({name for own, name in pairs if own == length})
