"""A dataset by name, split and column, streamed through `datasets`: nothing of it is kept but its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pretrain.data.sources.base import Item, Place, SourceReader, Stream
from pretrain.data.sources.files import missing_column
from pretrain.data.sources.options import HubSource
from pretrain.data.sources.parquet import ROWS_AT_ONCE, arrow_document
from pretrain.data.sources.parts import Part, Piece
from pretrain.errors import UserError

if TYPE_CHECKING:
    from datasets import IterableDataset

UNKNOWN_BYTES = 1_000_000_000  # where the dataset does not say how large it is
FAULTS = (OSError, ValueError, RuntimeError)  # what `datasets` and the network below it raise


class HubReader(SourceReader):
    """The column of every row. Each of the dataset's files is a part, and a part goes on at any row."""

    def __init__(self, name: str, options: HubSource) -> None:
        self.key = f"data.sources.{name}"
        self._options = options
        self._dataset: IterableDataset | None = None

    def identity(self) -> Any:
        """The fingerprint of the version that is streamed, where the dataset has one."""
        info = self._opened().info
        checksums = sorted(map(str, info.download_checksums or {}))
        return [str(info.version), info.dataset_size, checksums, self._opened().num_shards]

    def estimated_bytes(self) -> int:
        """What its card says."""
        return self._opened().info.dataset_size or UNKNOWN_BYTES

    def parts(self, part_bytes: int) -> list[Part]:
        """One for each file of the dataset."""
        count = self._opened().num_shards
        size = self.estimated_bytes() // count
        return [
            Part(pieces=(Piece(file=self._options.name, start=shard, end=shard + 1, num_bytes=size),))
            for shard in range(count)
        ]

    def read(self, part: Part) -> Iterator[Item]:
        """The rows of one file."""
        return iter(self.stream(part))

    def stream(self, part: Part, state: Any = None) -> Stream:
        """The same, from any row on: `datasets` goes there without reading what lies before."""
        whole = self._opened()
        shard = whole.shard(whole.num_shards, part.pieces[0].start)
        return _Rows(self, shard, part.pieces[0], state)

    def __getstate__(self) -> dict[str, Any]:
        """A worker opens the dataset itself."""
        return vars(self) | {"_dataset": None}

    @property
    def column(self) -> str:
        """The one that holds the document."""
        return self._options.column

    def fault(self, error: Exception) -> UserError:
        """What `datasets` says, with the source and the way on."""
        what = f"'{self._options.name}' (split '{self._options.split}')"
        cause = str(error).strip().split("\n")[0] or type(error).__name__
        return UserError(
            f"{self.key}: the dataset {what} cannot be read: {cause} Check its name and the network"
            " (the hub has to be reachable from here); what was read is kept, and a resumed build goes on."
        )

    def _opened(self) -> IterableDataset:
        if self._dataset is None:
            from datasets import load_dataset

            chosen = self._options
            try:
                self._dataset = load_dataset(
                    chosen.name,
                    chosen.subset,
                    split=chosen.split,
                    revision=chosen.revision,
                    streaming=True,
                )
                names = self._dataset.column_names
            except FAULTS as error:
                raise self.fault(error) from error
            if names and self.column not in names:
                raise missing_column(self.key, self.column, names)
        return self._dataset


class _Rows:
    """The rows of one file, in Arrow batches: a string that is no UTF-8 then costs no more than itself."""

    def __init__(self, reader: HubReader, rows: IterableDataset, piece: Piece, state: Any) -> None:
        self._reader, self._rows = reader, rows.with_format("arrow")
        self._name = f"{piece.file}, file {piece.start + 1}"
        self._seen = self._batch_first = state["rows"] if state else 0
        if state:
            self._batch_first = state["batch_first"]
            self._rows.load_state_dict(state["dataset"])
        self._batch_state = self._rows.state_dict()

    def __iter__(self) -> Iterator[Item]:
        batches = self._rows.iter(batch_size=ROWS_AT_ONCE)
        while (table := self._next(batches)) is not None:
            for value in table.column(self._reader.column)[self._seen - self._batch_first :]:
                self._seen += 1
                yield arrow_document(value, Place(self._name, "row", self._seen))
            self._batch_first, self._batch_state = self._seen, self._rows.state_dict()

    def state(self) -> Any:
        """The batch that is being read, and how far it was read."""
        return {"rows": self._seen, "batch_first": self._batch_first, "dataset": self._batch_state}

    def _next(self, batches: Iterator[Any]) -> Any:
        try:
            table = next(batches, None)
        except FAULTS as error:
            raise self._reader.fault(error) from error
        if table is not None and self._reader.column not in table.column_names:
            raise missing_column(self._reader.key, self._reader.column, table.column_names)
        return table
