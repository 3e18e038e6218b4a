"""Local files: which ones a path means, and text files, of which each is one document."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pretrain.data.sources.base import Document, Item, Place, Reason, Skipped, SourceReader, read_document
from pretrain.data.sources.options import FileSource
from pretrain.data.sources.parts import Part, Piece, gather
from pretrain.errors import UserError, nearest

LARGEST_BYTES = 256_000_000  # of one document: it is held in memory whole while it is encoded
PACKED = (".gz", ".zst", ".parquet")
SUFFIXES = {
    "text": ("",),
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst"),
    "parquet": (".parquet",),
}


class Files(SourceReader):
    """The files of one source, found when it is opened: a missing one is an error before any work."""

    def __init__(self, name: str, options: FileSource) -> None:
        self.key = f"data.sources.{name}"
        self.column = options.column
        self.paths = find_files(f"{self.key}.path", options.path, SUFFIXES[options.kind])

    def identity(self) -> Any:
        """Name, size and time of change of each file."""
        stats = [(str(path), path.stat()) for path in self.paths]
        return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]

    def estimated_bytes(self) -> int:
        """Their sizes; text compresses to about a quarter."""
        return sum(path.stat().st_size * (4 if path.suffix in PACKED else 1) for path in self.paths)

    def parts(self, part_bytes: int) -> list[Part]:
        """Consecutive files together, and ranges of those that can be cut."""
        return gather((piece for path in self.paths for piece in self.pieces(path, part_bytes)), part_bytes)

    def pieces(self, path: Path, part_bytes: int) -> list[Piece]:
        """A file in pieces: one, where it has to be read from its beginning."""
        return [Piece(file=str(path), num_bytes=path.stat().st_size)]

    def read(self, part: Part) -> Iterator[Item]:
        """The items of each piece."""
        for piece in part.pieces:
            yield from self.read_piece(piece)

    def read_piece(self, piece: Piece) -> Iterator[Item]:
        """The items of one piece."""
        raise NotImplementedError


class TextReader(Files):
    """Text files. Read as they are: `datasets` would change line ends and stop at the first invalid byte."""

    def read_piece(self, piece: Piece) -> Iterator[Item]:
        """One document a file, which is also the group that is held out or not."""
        yield read_document(Path(piece.file), piece.file, LARGEST_BYTES)


def find_files(key: str, path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The files that `path` means (a file, a folder with all below it, or a glob), sorted; never none."""
    where = os.path.expanduser(path)
    if os.path.isfile(where):
        return [Path(where)]
    if os.path.isdir(where):
        found = [Path(folder, name) for folder, _, names in os.walk(where) for name in names]
        found = [file for file in found if file.name.endswith(suffixes) and not file.name.startswith(".")]
        kinds = f" that ends in {', '.join(suffixes)}" if suffixes != ("",) else ""
        complaint = f"the folder '{path}' has no file{kinds}"
    elif glob.has_magic(where):
        found = [Path(file) for file in glob.glob(where, recursive=True) if os.path.isfile(file)]
        complaint = f"no file matches '{path}' (looked from {os.getcwd()})"
    else:
        raise _missing(key, Path(where))
    if not found:
        raise UserError(f"{key}: {complaint}.")
    return sorted(found)


def document(value: object, place: Place | None) -> Item:
    """The document that the value of a row's column is."""
    if value is None:
        return Skipped(reason=Reason.EMPTY, place=place)
    if not isinstance(value, str):
        return Skipped(reason=Reason.MALFORMED, place=place)
    if len(value) > LARGEST_BYTES:
        return Skipped(reason=Reason.LARGE, place=place)
    return Document(text=value, place=place)


def missing_column(key: str, column: str, names: Collection[str]) -> UserError:
    """No row has the column that the options name."""
    there = ", ".join(sorted(names)[:20])
    return UserError(
        f"{key}.column: there is no column '{column}'; there are: {there}.{nearest(column, names)}"
    )


def _missing(key: str, path: Path) -> UserError:
    folder = path.absolute().parent
    siblings = os.listdir(folder) if folder.is_dir() else []
    return UserError(f"{key}: '{path}' does not exist (looked in {folder}).{nearest(path.name, siblings)}")
