"""The documents of a source while it is built: those of all its volumes by number, read at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pretrain.data.volumes import DOCUMENT, Volume


class Spool:
    """UTF-8 texts over several files; 40 bytes a document in memory."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = list(volumes)
        tables = [volume.documents() for volume in volumes]
        table = np.concatenate([np.empty(0, DOCUMENT), *tables])
        self.lengths: np.ndarray = np.ascontiguousarray(table["length"])  # bytes of each document
        self.groups: np.ndarray = np.ascontiguousarray(table["group"])  # documents that stay together
        self.digests: np.ndarray = np.ascontiguousarray(table["digest"])  # of the text, in two halves
        self._first = np.cumsum([0, *map(len, tables)])  # document of each volume
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def bounds(self) -> Iterator[slice]:
        """The numbers of the documents of each volume."""
        for start, end in zip(self._first[:-1].tolist(), self._first[1:].tolist(), strict=True):
            yield slice(start, end)

    def read(self, number: int, start: int = 0, size: int | None = None) -> bytes:
        """A document's bytes, or `size` of them from `start`."""
        which = int(np.searchsorted(self._first, number, side="right")) - 1
        first = int(self._first[which])
        base = int(self._ends[first] - self.lengths[first])
        length = int(self.lengths[number])
        at = int(self._ends[number]) - length - base + start
        with self._volumes[which].text_file.open("rb") as file:
            file.seek(at)
            return file.read(min(length - start, size if size is not None else length))

    def texts(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of these documents."""
        for number in numbers.tolist():
            yield self.read(number).decode()
