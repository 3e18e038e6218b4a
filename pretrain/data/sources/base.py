"""What every source yields: documents, and the reasons for which it left others out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


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


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text. Documents of one `group` are never divided between training and validation; None: its own."""

    text: str
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Documents that were left out, and why: counted and reported, never fatal, never silent."""

    reason: Reason
    count: int = 1


class SourceReader(Protocol):
    """Documents of one kind of source, in an order that is the same on every call."""

    def identity(self) -> Any:
        """What the documents depend on beside the options (as JSON): other inputs make another corpus."""

    def estimated_bytes(self) -> int:
        """About how much text there is, for the progress display."""

    def documents(self) -> Iterator[Document | Skipped]:
        """Every document, and what was skipped on the way."""


def read_document(path: Path, group: str, largest_bytes: int) -> Document | Skipped:
    """The document that a file is, unless it is no text or too much of it."""
    try:
        if path.stat().st_size > largest_bytes:  # before it is in memory
            return Skipped(reason=Reason.LARGE)
        return Document(text=path.read_bytes().decode("utf-8"), group=group)
    except OSError:
        return Skipped(reason=Reason.UNREADABLE)
    except UnicodeDecodeError:
        return Skipped(reason=Reason.INVALID)
