"""What is in a folder of shards, written beside them: counts, hashes, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pretrain.data.checksums import write_sums
from pretrain.errors import UserError
from pretrain.files import replace

MANIFEST_FILE = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counts(_Record):
    """How much is in one shard; `bytes` are of text, without end tokens."""

    documents: int
    tokens: int
    bytes: int


class FileRecord(_Record):
    """A file as it was written."""

    bytes: int
    sha256: str


class Manifest(_Record):
    """The contents of a folder of shards."""

    source: Mapping[str, Any]
    validation_share: float
    tokenizer_sha256: str
    vocab_size: int
    train: Counts
    validation: Counts
    skipped: Mapping[str, int]
    files: Mapping[str, FileRecord]
    skipped_places: Mapping[str, tuple[str, ...]] = {}  # where the first of each reason are
    inputs: str | None = None  # a hash of all that the files depend on
    tokenizer_folder: str | None = None  # where the tokenizer was when a command built this

    def describe(self) -> str:
        """One line for people: what is there, and what was left out and why."""
        kept = (
            f"{self.train.documents:,} documents to train on ({self.train.tokens:,} tokens),"
            f" {self.validation.documents:,} held out ({self.validation.tokens:,} tokens)"
        )
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        return f"{kept}; left out: {reasons or 'none'}"


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into `folder`, and beside it the hashes of all files, its own included."""
    text = manifest.model_dump_json(indent=2) + "\n"
    replace(folder / MANIFEST_FILE, text)
    hashes = {name: record.sha256 for name, record in manifest.files.items()}
    write_sums(folder, hashes | {MANIFEST_FILE: sha256(text.encode()).hexdigest()})


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`, once the files have the sizes that it states."""
    file = folder / MANIFEST_FILE
    again = f"Delete {folder} so that it is built anew."
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{file} is missing or damaged. {again}") from error
    for name, record in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != record.bytes:
            raise UserError(f"{path} has {size:,} bytes where its manifest says {record.bytes:,}. {again}")
    return manifest
