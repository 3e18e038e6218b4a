"""What every source yields: documents, and the reasons for which it left others out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pretrain.data.sources.parts import Part


class Reason(StrEnum):
    """Why a document is not in the corpus; the values are the keys of the manifest's counts."""

    UNREADABLE = "unreadable"
    INVALID = "not valid UTF-8"
    EMPTY = "empty"
    LARGE = "too large"
    GENERATED = "machine-generated"
    DUPLICATE = "exact duplicate"
    BEYOND = "beyond max_bytes"
    MALFORMED = "malformed or no text"
    NEAR_COPY = "near copy of training text"


class Place(NamedTuple):
    """Where a document stands: a file, and in it a line, a row or (for a line yet to be counted) a byte."""

    file: str
    unit: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number:,}" if self.unit else self.file


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text. Documents of one `group` are never divided between training and validation; None: its own."""

    text: str
    group: str | None = None
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Documents that were left out, and why: counted and reported, never fatal, never silent."""

    reason: Reason
    count: int = 1
    place: Place | None = None


Item = Document | Skipped


class Stream(Protocol):
    """What a part yields, from some point on."""

    def __iter__(self) -> Iterator[Item]:
        """The items that are left."""

    def state(self) -> Any:
        """The point that is reached (as JSON): a stream opened there goes on with the next item."""


class SourceReader(ABC):
    """Documents of one kind of source, in an order that is the same on every call."""

    key: str = "data.sources"  # names the source in messages

    @abstractmethod
    def identity(self) -> Any:
        """What the documents depend on beside the options (as JSON): other inputs make another corpus."""

    @abstractmethod
    def estimated_bytes(self) -> int:
        """About how much text there is, for the progress display."""

    @abstractmethod
    def parts(self, part_bytes: int) -> list[Part]:
        """The whole source, cut into parts: the same on every machine that sees the same inputs."""

    @abstractmethod
    def read(self, part: Part) -> Iterator[Item]:
        """Every document of a part, and what was skipped on the way."""

    def stream(self, part: Part, state: Any = None) -> Stream:
        """The items of a part, going on where another stream was left."""
        return CountedStream(self.read(part), int(state or 0))

    def explain(self) -> None:  # noqa: B027 (most kinds have nothing to add)
        """Raise a UserError if there is a known cause for a source without a single document."""

    def documents(self, part_bytes: int = 2**62) -> Iterator[Item]:
        """Every document of the source, and what was skipped on the way."""
        found = False
        for part in self.parts(part_bytes):
            for item in self.stream(part):
                found = found or isinstance(item, Document)
                yield item
        if not found:
            self.explain()


class CountedStream:
    """Items of which the first so many were seen before: reading again is cheap where nothing is computed."""

    def __init__(self, items: Iterator[Item], seen: int) -> None:
        self._items, self._seen = items, seen

    def __iter__(self) -> Iterator[Item]:
        for item in islice(self._items, self._seen, None):
            self._seen += 1
            yield item

    def state(self) -> int:
        """How many were seen."""
        return self._seen


def read_document(path: Path, group: str, largest_bytes: int) -> Item:
    """The document that a file is, unless it is no text or too much of it."""
    place = Place(str(path))
    try:
        if path.stat().st_size > largest_bytes:  # before it is in memory
            return Skipped(reason=Reason.LARGE, place=place)
        return Document(text=path.read_bytes().decode("utf-8"), group=group, place=place)
    except OSError:
        return Skipped(reason=Reason.UNREADABLE, place=place)
    except UnicodeDecodeError:
        return Skipped(reason=Reason.INVALID, place=place)
