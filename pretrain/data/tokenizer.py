"""A tokenizer that loses nothing: text to token ids and back, for every string that UTF-8 can hold."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pretrain.errors import UserError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

MODEL_FILE = "tokenizer.model"
END_PIECE = "<|end|>"
SPACE = "\u2581"  # stands for a space inside sentencepiece, so the character itself goes by its bytes
# Long texts are encoded in stretches that end after a newline: pieces hold none, so nothing changes but
# the time (the merge queue grows with the stretch). Only a longer line is cut inside.
STRETCH = re.compile(rf"{SPACE}|[^{SPACE}]{{1,4095}}\n|[^{SPACE}]{{1,4096}}")


class Tokenizer:
    """A sentencepiece BPE with byte fallback."""

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self.sha256 = sha256(model).hexdigest()
        self._model = SentencePieceProcessor(model_proto=model)
        self._bytes = _piece_bytes(self._model)
        self._space_ids = [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return len(self._bytes)

    @property
    def end_id(self) -> int:
        """The token after the last one of every document; no text encodes to it."""
        return int(self._model.piece_to_id(END_PIECE))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without an end token. UnicodeEncodeError for lone surrogates."""
        text.encode()  # sentencepiece itself would fail on a surrogate with words that help nobody
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> array[int]:
        """The same in 4 bytes a token, for texts of any length."""
        ids = array("i")
        for stretch in STRETCH.findall(text):
            ids.extend(self._space_ids if stretch == SPACE else self._model.encode(stretch))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD.

        Special tokens have no text, nor have ids beyond the vocabulary, which a padded model may produce.
        """
        known = [self._bytes[token] for token in ids if token < len(self._bytes)]
        return b"".join(known).decode("utf-8", errors="replace")

    def piece(self, token: int) -> tuple[str, float, Literal["normal", "byte", "special"]]:
        """Text as sentencepiece writes it, score and kind of a token."""
        model = self._model
        special = model.is_control(token) or model.is_unknown(token)
        return model.id_to_piece(token), model.get_score(token), _kind(special, model.is_byte(token))

    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each token stands for, special ones 0: the denominator of bits per byte."""
        return np.array([len(piece) for piece in self._bytes], dtype=np.int64)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`."""
    file = folder / MODEL_FILE
    try:
        return Tokenizer(file.read_bytes())
    except (OSError, RuntimeError) as error:
        raise UserError(f"the tokenizer {file} cannot be read: {error}") from error


def _kind(special: bool, byte: bool) -> Literal["normal", "byte", "special"]:
    if special:
        return "special"
    return "byte" if byte else "normal"


def _piece_bytes(model: SentencePieceProcessor) -> list[bytes]:
    """The text of every piece. Written out, since sentencepiece would decode U+2581 to a space."""
    table = []
    for token in range(model.get_piece_size()):
        piece = model.id_to_piece(token)
        if model.is_control(token) or model.is_unknown(token):
            table.append(b"")
        elif model.is_byte(token):
            table.append(bytes([int(piece[3:5], 16)]))
        else:
            table.append(piece.replace(SPACE, " ").encode())
    return table
