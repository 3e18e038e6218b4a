"""The rows that a run is evaluated on: the same at every evaluation, on any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pretrain.data.corpus import Corpus
from pretrain.data.sequences import pack_sources
from pretrain.errors import UserError


class ValidationData:
    """Held-out sequences of each source, and the rows of sets that no stage trains on.

    Always joined, so that the losses of runs with different packing compare.
    """

    def __init__(
        self, corpus: Corpus, sequence_length: int, sets: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self._length = sequence_length
        self._sets = dict(sets or {})
        for name in self._sets:
            if name in corpus.sources:
                raise UserError(f"evaluate.sets.{name}: data.sources has that name too; choose another.")
        names = [name for name, source in corpus.sources.items() if source.manifest.validation_share]
        self._packed = pack_sources(corpus, names, "validation", sequence_length)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources that hold text out (all, or none if `data.validation_share` is 0), then the sets."""
        return (*self._packed, *self._sets)

    def rows(self, source: str, count: int) -> np.ndarray:
        """At most `count` sequences, int32 [.., S + 1]: of a source evenly spaced, of a set the first."""
        if source in self._sets:
            return self._sets[source][:count]
        packed = self._packed[source]
        count = min(count, len(packed))
        rows = np.empty((count, self._length + 1), np.int32)
        for row in range(count):
            rows[row] = packed[row * len(packed) // count]
        return rows
