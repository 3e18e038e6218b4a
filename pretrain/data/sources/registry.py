"""From a source's options to its reader."""

from __future__ import annotations

from collections.abc import Callable

from pretrain.data.sources.base import SourceReader
from pretrain.data.sources.files import TextReader
from pretrain.data.sources.hub import HubReader
from pretrain.data.sources.jsonl import JsonlReader
from pretrain.data.sources.options import AnyText, FileSource, HubSource, PythonSource
from pretrain.data.sources.parquet import ParquetReader
from pretrain.data.sources.python import PythonReader

FILE_READERS: dict[str, Callable[[str, FileSource], SourceReader]] = {
    "text": TextReader,
    "jsonl": JsonlReader,
    "parquet": ParquetReader,
}


def open_source(name: str, options: AnyText) -> SourceReader:
    """The reader of source `name`; a UserError if what it should read is not there."""
    if isinstance(options, PythonSource):
        return PythonReader(options)
    if isinstance(options, HubSource):
        return HubReader(name, options)
    return FILE_READERS[options.kind](name, options)
