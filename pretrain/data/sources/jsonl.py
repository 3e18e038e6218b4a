"""JSON lines, plain or compressed: one document a line, and a bad line costs no more than itself.

Opened with fsspec, as `datasets` does, but not read by it: its JSON and text readers end a whole file at the
first byte that is not UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.data.sources.base import Document, Reason, Skipped
from pretrain.data.sources.files import Files, document, missing_column
from pretrain.errors import UserError

COMPRESSIONS = {
    ".gz": "gzip",
    ".zst": "zstd",
}  # fsspec's "infer" would read .zst raw where it cannot unpack it


class JsonlReader(Files):
    """The column of every line. A line that is no object with this column is counted and passed by."""

    def documents(self) -> Iterator[Document | Skipped]:
        """One document a line; an error if no line has the column."""
        others: set[str] = set()  # keys of objects that lack the column
        found = False
        for path in self.paths:
            for line in self._lines(path):
                row = _parse(line)
                if isinstance(row, dict) and self.column in row:
                    found = True
                    yield document(row[self.column])
                else:
                    others.update(row if isinstance(row, dict) else ())
                    yield row if isinstance(row, Skipped) else Skipped(reason=Reason.MALFORMED)
        if others and not found:
            raise missing_column(self.key, self.column, others)

    def _lines(self, path: Path) -> Iterator[bytes]:
        import fsspec

        try:
            with fsspec.open(str(path), "rb", compression=COMPRESSIONS.get(path.suffix)) as lines:
                yield from lines
        except Exception as error:  # every decompressor has errors of its own
            hint = " Reading .zst needs `pip install zstandard`." if path.suffix == ".zst" else ""
            raise UserError(f"{self.key}.path: '{path}' cannot be read: {error}.{hint}") from error


def _parse(line: bytes) -> dict[str, Any] | Skipped:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Skipped(reason=Reason.INVALID)
    except (ValueError, RecursionError):
        return Skipped(reason=Reason.MALFORMED if line.strip() else Reason.EMPTY)
    return row if isinstance(row, dict) else Skipped(reason=Reason.MALFORMED)
