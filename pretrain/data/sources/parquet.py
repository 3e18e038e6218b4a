"""Parquet files, read in batches: one column, a few rows at a time, whole row groups to a part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.data.sources.base import Item, Place, Reason, Skipped
from pretrain.data.sources.files import Files, document, missing_column
from pretrain.data.sources.parts import Piece
from pretrain.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_AT_ONCE = 256


class ParquetReader(Files):
    """The column of every row."""

    def pieces(self, path: Path, part_bytes: int) -> list[Piece]:
        """Runs of row groups."""
        with self._opened(str(path)) as file:
            self._check_column(file)
            metadata = file.metadata
            sizes = [metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
        pieces, start = [], 0
        for group in range(len(sizes)):
            if group + 1 == len(sizes) or sum(sizes[start : group + 1]) >= part_bytes:
                num_bytes = sum(sizes[start : group + 1])
                pieces.append(Piece(file=str(path), start=start, end=group + 1, num_bytes=num_bytes))
                start = group + 1
        return pieces

    def read_piece(self, piece: Piece) -> Iterator[Item]:
        """One document a row."""
        with self._opened(piece.file) as file:
            first = sum(file.metadata.row_group(group).num_rows for group in range(piece.start))
            groups = list(range(piece.start, piece.end or file.num_row_groups))
            row = first
            for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=[self.column]):
                for value in batch.column(0):
                    row += 1
                    yield arrow_document(value, Place(piece.file, "row", row))

    @contextmanager
    def _opened(self, path: str) -> Iterator[pq.ParquetFile]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                yield file
        except (OSError, ValueError) as error:  # pyarrow's own errors are both
            raise UserError(f"{self.key}.path: '{path}' is not a Parquet file: {error}") from error

    def _check_column(self, file: pq.ParquetFile) -> None:
        names = file.schema_arrow.names
        if self.column not in names:
            raise missing_column(self.key, self.column, names)


def arrow_document(scalar: pa.Scalar, place: Place) -> Item:
    """The document that a value of an Arrow column is."""
    try:
        return document(scalar.as_py(), place)
    except UnicodeDecodeError:  # Parquet does not promise that its strings are UTF-8
        return Skipped(reason=Reason.INVALID, place=place)
