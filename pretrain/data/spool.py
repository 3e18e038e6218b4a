"""The documents of a source on disk while its shards are built: written once, read at random by number."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np


class Spool:
    """UTF-8 texts one after another in a file; 24 bytes a document in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb+")
        self._offsets = array("q", [0])
        self._groups = array("Q")  # hashes of the groups' names

    def append(self, data: bytes, group: str) -> None:
        """Add a document that is held out together with the others of its group."""
        self._file.write(data)
        self._offsets.append(self._offsets[-1] + len(data))
        self._groups.append(
            int.from_bytes(blake2b(group.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        )

    def finish(self) -> None:
        """Make what was appended readable."""
        self._file.flush()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each document."""
        return np.diff(np.array(self._offsets, dtype=np.int64))

    @property
    def groups(self) -> np.ndarray:
        """A number for the group of each document."""
        return np.array(self._groups, dtype=np.uint64)

    def read(self, number: int, start: int = 0, size: int | None = None) -> bytes:
        """A document's bytes, or `size` of them from `start`; safe from several threads at once."""
        first, end = self._offsets[number] + start, self._offsets[number + 1]
        return os.pread(self._file.fileno(), min(end - first, size if size is not None else end), first)

    def texts(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of these documents."""
        for number in numbers.tolist():
            yield self.read(number).decode()

    def cut(self, at: int) -> None:
        """Turn a single document into two, the second beginning at byte `at`."""
        assert len(self) == 1
        self._offsets.insert(1, at)
        self._groups.append(self._groups[0] ^ 1)
