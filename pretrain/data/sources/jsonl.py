"""JSON lines, plain or compressed: one document a line, and a bad line costs no more than itself.

Opened with fsspec, as `datasets` does, but not read by it: its JSON and text readers end a whole file at the
first byte that is not UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from pretrain.data.sources.base import Item, Place, Reason, Skipped
from pretrain.data.sources.files import LARGEST_BYTES, Files, document, missing_column
from pretrain.data.sources.lines import lines_of, read_line
from pretrain.data.sources.parts import Piece, ranges
from pretrain.errors import UserError

# fsspec's "infer" would read .zst raw where it cannot unpack it
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
LARGEST_LINE = 2 * LARGEST_BYTES  # JSON spells some characters in six bytes; such lines are read all the same
LINES_OF_A_LOOK = 1000


class JsonlReader(Files):
    """The column of every line. A line that is no object with this column is counted and passed by."""

    def pieces(self, path: Path, part_bytes: int) -> list[Piece]:
        """Byte ranges of a plain file; an archive is one piece."""
        if path.suffix in COMPRESSIONS:
            return super().pieces(path, part_bytes)
        return ranges(str(path), path.stat().st_size, part_bytes)

    def read_piece(self, piece: Piece) -> Iterator[Item]:
        """One document a line."""
        for place, line in self._lines(piece):
            row = Skipped(reason=Reason.LARGE) if line is None else _parse(line)
            if isinstance(row, Skipped):
                yield Skipped(reason=row.reason, place=place)
            elif self.column in row:
                yield document(row[self.column], place)
            else:
                yield Skipped(reason=Reason.MALFORMED, place=place)

    def explain(self) -> None:
        """No document at all: does any line have the column?"""
        names: set[str] = set()
        for path in self.paths:
            for _, line in islice(self._lines(Piece(file=str(path))), LINES_OF_A_LOOK):
                row = _parse(line or b"")
                names.update(row if isinstance(row, dict) else ())
        if names and self.column not in names:
            raise missing_column(self.key, self.column, names)

    def _lines(self, piece: Piece) -> Iterator[tuple[Place, bytes | None]]:
        suffix = Path(piece.file).suffix
        try:
            if suffix in COMPRESSIONS:
                yield from _unpacked(piece.file, COMPRESSIONS[suffix])
            else:
                for at, line in lines_of(piece, LARGEST_LINE):
                    yield Place(piece.file, "byte", at), line
        except Exception as error:  # every decompressor has errors of its own
            hint = " Reading .zst needs `pip install zstandard`." if suffix == ".zst" else ""
            raise UserError(f"{self.key}.path: '{piece.file}' cannot be read: {error}.{hint}") from error


def _unpacked(file: str, compression: str) -> Iterator[tuple[Place, bytes | None]]:
    import fsspec

    with fsspec.open(file, "rb", compression=compression) as opened, BufferedReader(opened) as lines:
        number = 0
        while True:
            line, size = read_line(lines, LARGEST_LINE)
            if not size:
                return
            number += 1
            yield Place(file, "line", number), line


def _parse(line: bytes) -> dict[str, Any] | Skipped:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Skipped(reason=Reason.INVALID)
    except (ValueError, RecursionError):
        return Skipped(reason=Reason.MALFORMED if line.strip() else Reason.EMPTY)
    return row if isinstance(row, dict) else Skipped(reason=Reason.MALFORMED)
