"""Which rank writes which tensor into which file: the same answer on every rank, without a word between them.

Tensors come one at a time, in an order that all ranks see. Each goes to the rank that has the fewest bytes
so far, so no rank has more than an equal share and one tensor.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

MAX_FILE_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor goes."""

    rank: int
    file: str


@dataclass(frozen=True, kw_only=True)
class _Open:
    """The file that a rank is filling."""

    kind: str
    name: str
    bytes: int


class Sharing:
    """Places tensors one after another in files of at most `max_file_bytes`, or of one larger tensor."""

    def __init__(self, num_ranks: int, max_file_bytes: int) -> None:
        self.loads = [0] * num_ranks
        self._max_file_bytes = max_file_bytes
        self._open: list[_Open | None] = [None] * num_ranks
        self._num_files: Counter[str] = Counter()

    @property
    def bytes(self) -> int:
        """Of all tensors so far, over all ranks."""
        return sum(self.loads)

    def place(self, kind: str, num_bytes: int) -> Place:
        """The place of the next tensor."""
        rank = min(range(len(self.loads)), key=self.loads.__getitem__)
        self.loads[rank] += num_bytes
        file = self._open[rank]
        if file is None or file.kind != kind or file.bytes + num_bytes > self._max_file_bytes:
            file = _Open(kind=kind, name=f"{kind}-{self._num_files[kind]:05d}.safetensors", bytes=0)
            self._num_files[kind] += 1
        self._open[rank] = _Open(kind=kind, name=file.name, bytes=file.bytes + num_bytes)
        return Place(rank=rank, file=file.name)
