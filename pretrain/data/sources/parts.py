"""A source cut into parts that are read alone: whole small files together, large files in ranges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PART_BYTES = 64_000_000  # of files: about what a worker reads between two looks at the clock
VOLUME_BYTES = 8_000_000  # of text: what a kill loses at most, for every worker
MOST_PARTS = 4096  # of a large source: each leaves a few files until the end of a build


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file, or a range of it: of bytes or of row groups, whatever its reader counts."""

    file: str
    start: int = 0
    end: int | None = None  # None: to its end
    num_bytes: int = 0  # of the file, for the progress display


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pieces that are read one after another by one worker."""

    pieces: tuple[Piece, ...]

    @property
    def num_bytes(self) -> int:
        """About how much there is to read."""
        return sum(piece.num_bytes for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class Grain:
    """How finely work is cut. It decides what is repeated after a kill, never what comes out."""

    part_bytes: int = PART_BYTES
    volume_bytes: int = VOLUME_BYTES

    def suits(self, num_bytes: int) -> Grain:
        """This grain, coarser for a source so large that its parts would be too many files."""
        factor = max(1, num_bytes // (MOST_PARTS * self.part_bytes))
        return Grain(part_bytes=factor * self.part_bytes, volume_bytes=factor * self.volume_bytes)


def gather(pieces: Iterable[Piece], part_bytes: int) -> list[Part]:
    """Consecutive pieces in parts of at least `part_bytes`, but for the last."""
    parts, waiting, num_bytes = [], [], 0
    for piece in pieces:
        waiting.append(piece)
        num_bytes += piece.num_bytes
        if num_bytes >= part_bytes:
            parts.append(Part(pieces=tuple(waiting)))
            waiting, num_bytes = [], 0
    return parts + ([Part(pieces=tuple(waiting))] if waiting else [])


def ranges(file: str, num_bytes: int, part_bytes: int) -> list[Piece]:
    """A file in byte ranges of about equal size."""
    count = max(1, num_bytes // part_bytes)
    ends = [num_bytes * number // count for number in range(count + 1)]
    return [
        Piece(file=file, start=ends[number], end=ends[number + 1], num_bytes=ends[number + 1] - ends[number])
        for number in range(count)
    ]
