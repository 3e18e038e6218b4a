"""From a volume of text to its tokens, document by document, with what near copies are known by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.volumes import Volume
from pretrain.errors import UserError
from pretrain.files import put, replace

if TYPE_CHECKING:
    from pretrain.data.tokenizer import Tokenizer

LONG_LINE_BYTES = 24  # shorter lines (`return None`, `else:`) are alike in unrelated texts


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The documents of a volume as token ids, joined, each with its end token."""

    ids: np.ndarray
    lengths: np.ndarray  # tokens of each document
    lines: np.ndarray  # hashes of the distinct long lines of each document, joined
    num_lines: np.ndarray  # of each document


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The `.json` of an encoded volume."""

    documents: int
    tokens: int
    text_bytes: int
    lines: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class EncodedVolume:
    """The tokens of the volume of this name, whole once its `.json` is there."""

    folder: Path
    name: str

    @property
    def is_there(self) -> bool:
        """Whether it is whole."""
        return self._file("json").is_file()

    @property
    def contents(self) -> Encoded:
        """Its counts."""
        return Encoded(**json.loads(self._file("json").read_bytes()))

    def write(self, tokens: Tokens, text_bytes: int) -> None:
        """Make it; it is there once all of it is on the disk."""
        self._file("json").parent.mkdir(parents=True, exist_ok=True)
        tables = (tokens.lengths, tokens.num_lines, tokens.lines, tokens.ids)
        data = b"".join(table.tobytes() for table in tables)
        put(self._file("tokens"), data)
        contents = Encoded(
            documents=len(tokens.lengths),
            tokens=len(tokens.ids),
            text_bytes=text_bytes,
            lines=len(tokens.lines),
            sha256=sha256(data).hexdigest(),
        )
        replace(self._file("json"), json.dumps(asdict(contents)))

    def tokens(self, vocab_size: int) -> Tokens:
        """All of it."""
        contents, data = self.contents, self._file("tokens").read_bytes()
        if sha256(data).hexdigest() != contents.sha256:
            file = self._file("tokens")
            raise UserError(f"{file} is damaged: delete {self.folder} to build it anew.")
        at, tables = 0, []
        for count, dtype in self._tables(contents, vocab_size):
            tables.append(np.frombuffer(data, dtype, count, at))
            at += count * dtype.itemsize
        lengths, num_lines, lines, ids = tables
        return Tokens(ids=ids, lengths=lengths, lines=lines, num_lines=num_lines)

    def lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of long lines, and how many each document has; read alone, since tokens are many more."""
        contents = self.contents
        with self._file("tokens").open("rb") as file:
            _, num_lines, lines = (
                np.fromfile(file, dtype, count) for count, dtype in self._tables(contents, 0)[:3]
            )
        return lines, num_lines

    def _tables(self, contents: Encoded, vocab_size: int) -> list[tuple[int, np.dtype]]:
        number = np.dtype("<i8")
        return [
            (contents.documents, number),
            (contents.documents, number),
            (contents.lines, np.dtype("<u8")),
            (contents.tokens, id_type(vocab_size)),
        ]

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"


def encode(volume: Volume, tokenizer: Tokenizer, with_lines: bool) -> Tokens:
    """The tokens of a volume."""
    ids, lengths, num_lines = [], [], []
    lines: list[int] = []
    for data in texts(volume.text(), volume.documents()["length"]):
        own = tokenizer.encode_array(data.decode())
        own.append(tokenizer.end_id)
        ids.append(np.array(own, dtype=id_type(tokenizer.vocab_size)))
        lengths.append(len(own))
        hashes = long_lines(data) if with_lines else ()
        lines.extend(hashes)
        num_lines.append(len(hashes))
    return Tokens(
        ids=np.concatenate([np.empty(0, id_type(tokenizer.vocab_size)), *ids]),
        lengths=np.array(lengths, dtype="<i8"),
        lines=np.array(lines, dtype="<u8"),
        num_lines=np.array(num_lines, dtype="<i8"),
    )


def encode_volume(volume: Volume, folder: Path, tokenizer_folder: Path, with_lines: bool) -> None:
    """Encode a volume into `folder`, unless it is there."""
    encoded = EncodedVolume(folder=folder, name=volume.name)
    if not encoded.is_there:
        tokens = encode(volume, _tokenizer(tokenizer_folder), with_lines)
        encoded.write(tokens, volume.contents.text_bytes)


def texts(text: bytes, lengths: np.ndarray) -> Iterator[bytes]:
    """The texts of a volume one by one."""
    at = 0
    for length in lengths.tolist():
        yield text[at : at + length]
        at += length


def long_lines(data: bytes) -> set[int]:
    """Hashes of a document's distinct lines, short ones aside."""
    lines = {line for line in map(bytes.strip, data.split(b"\n")) if len(line) >= LONG_LINE_BYTES}
    return {int.from_bytes(blake2b(line, digest_size=8).digest(), "little") for line in lines}


def id_type(vocab_size: int) -> np.dtype:
    """The smallest type of Megatron's format that holds every id."""
    return np.dtype("<u2" if vocab_size <= 65536 else "<i4")


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> Tokenizer:
    """One for all volumes that a worker encodes."""
    return load_tokenizer(folder)
