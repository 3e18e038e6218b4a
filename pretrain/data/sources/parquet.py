"""Parquet files, streamed through `datasets`: one column is read, nothing is cached or downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pretrain.data.sources.base import Document, Reason, Skipped
from pretrain.data.sources.files import Files, document, missing_column
from pretrain.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1000


class ParquetReader(Files):
    """The column of every row."""

    def documents(self) -> Iterator[Document | Skipped]:
        """One document a row."""
        from datasets import Dataset

        for path in self.paths:
            self._check_column(path)
            with TemporaryDirectory() as cache:  # for its lock files, which else go to the home folder
                rows = Dataset.from_parquet(str(path), streaming=True, columns=[self.column], cache_dir=cache)
                for batch in rows.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
                    yield from map(_document, batch.column(0))

    def _check_column(self, path: Path) -> None:
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
        except (OSError, ValueError) as error:
            raise UserError(f"{self.key}.path: '{path}' is not a Parquet file: {error}") from error
        if self.column not in names:
            raise missing_column(self.key, self.column, names)


def _document(scalar: pa.Scalar) -> Document | Skipped:
    try:
        return document(scalar.as_py())
    except UnicodeDecodeError:  # Parquet does not promise that its strings are UTF-8
        return Skipped(reason=Reason.INVALID)
