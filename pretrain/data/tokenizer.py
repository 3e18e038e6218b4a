"""Text to token ids and back: what every tokenizer can do, and the one in a folder."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from pretrain.data.tokenizers.definition import TOKENIZER_FILE, read_definition
from pretrain.data.tokenizers.sentencepiece import (
    END_PIECE,
    MODEL_FILE,
    SPACE,
    STRETCH,
    SentencePieceTokenizer,
)
from pretrain.errors import UserError

__all__ = [
    "END_PIECE",
    "MODEL_FILE",
    "SPACE",
    "STRETCH",
    "SentencePieceTokenizer",
    "Tokenizer",
    "find_tokenizer",
    "load_tokenizer",
]


class Tokenizer(Protocol):
    """A tokenizer that a run can be trained with."""

    @property
    def kind(self) -> str:
        """As in `data.tokenizer.kind`."""

    @property
    def sha256(self) -> str:
        """Of all that decides ids: tokenizers with equal hashes are the same."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def end_id(self) -> int:
        """The token after the last one of every document; no text encodes to it."""

    @property
    def control(self) -> Mapping[str, int]:
        """Tokens that no text may become, by name."""

    @property
    def engine(self) -> str:
        """What computes the ids."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without an end token. UnicodeEncodeError for lone surrogates."""

    def encode_array(self, text: str) -> array[int]:
        """The same in 4 bytes a token, for texts of any length."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none, nor have ids beyond the vocabulary."""

    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each token stands for, control tokens 0: the denominator of bits per byte."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`, of the kind that its files are of."""
    from pretrain.data.tokenizers.fast import TransformersTokenizer

    if (folder / TOKENIZER_FILE).is_file():
        return TransformersTokenizer(read_definition(folder))
    file = folder / MODEL_FILE
    try:
        return SentencePieceTokenizer(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no tokenizer: neither {MODEL_FILE} nor {TOKENIZER_FILE}.") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"the tokenizer {file} cannot be read: {error}") from error


def find_tokenizer(root: Path, wanted: str) -> Tokenizer | None:
    """The tokenizer with this sha256 below a data root."""
    folder = find_folder(root, wanted)
    return load_tokenizer(folder) if folder else None


def find_folder(root: Path, wanted: str) -> Path | None:
    """The folder below a data root of the tokenizer with this sha256."""
    for folder in sorted(root.glob("tokenizers/*/")):
        try:
            if _sha256(folder) == wanted:
                return folder
        except (OSError, UserError):  # somebody else's, or half of one
            continue
    return None


def _sha256(folder: Path) -> str:
    """As the tokenizer has it, read from its files alone."""
    if (folder / TOKENIZER_FILE).is_file():
        return read_definition(folder).sha256
    return sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
