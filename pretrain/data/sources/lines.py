"""Lines of a file or of a range of it, none longer in memory than a document may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pretrain.data.sources.parts import Piece

SCANNED_BYTES = 1 << 20


def lines_of(piece: Piece, largest: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines that begin in a range of a plain file, with their offsets; None for one that is too long."""
    with open(piece.file, "rb") as file:
        end = piece.end if piece.end is not None else 2**63
        at = _first_line(file, piece.start, end)
        while at < end:
            line, size = read_line(file, largest)
            if not size:
                return
            yield at, line
            at += size


def read_line(file: BinaryIO, largest: int) -> tuple[bytes | None, int]:
    """The next line without its end and its size with it, 0 at the end of the file; None: too long."""
    line = file.readline(largest + 1)
    if len(line) < largest + 1 or line.endswith(b"\n"):
        return line.rstrip(b"\r\n"), len(line)
    size, last = len(line), line
    while last and not last.endswith(b"\n"):
        last = file.readline(SCANNED_BYTES)
        size += len(last)
    return None, size


def count_lines(file: str, until: int) -> int:
    """Ends of lines before byte `until`."""
    with open(file, "rb") as data:
        count = 0
        while until > 0 and (block := data.read(min(SCANNED_BYTES, until))):
            count += block.count(b"\n")
            until -= len(block)
        return count


def _first_line(file: BinaryIO, start: int, end: int) -> int:
    """Where the first line at or after `start` begins, or some place beyond `end`; the file is put there."""
    if start == 0:
        return 0
    at = start - 1  # a line end just before `start` makes `start` the beginning of a line
    file.seek(at)
    while at < end and (block := file.readline(SCANNED_BYTES)):
        at += len(block)
        if block.endswith(b"\n"):
            return at
    return max(at, end)
