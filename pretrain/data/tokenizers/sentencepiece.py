"""A sentencepiece model with byte fallback, made to lose nothing: every string comes back."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

MODEL_FILE = "tokenizer.model"
END_PIECE = "<|end|>"
SPACE = "\u2581"  # stands for a space inside sentencepiece, so the character itself goes by its bytes
# Long texts are encoded in stretches that end after a newline: pieces hold none, so nothing changes but
# the time (the merge queue grows with the stretch). Only a longer line is cut inside.
STRETCH = re.compile(rf"{SPACE}|[^{SPACE}]{{1,4095}}\n|[^{SPACE}]{{1,4096}}")


class SentencePieceTokenizer:
    """A BPE or unigram model that `train_tokenizer` made."""

    kind = "sentencepiece"

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

    @property
    def control(self) -> dict[str, int]:
        """Tokens that no text may become, by name."""
        ids = [token for token in range(self.vocab_size) if self.piece(token)[2] == "special"]
        return {self.piece(token)[0]: token for token in ids}

    @property
    def is_unigram(self) -> bool:
        """Whether pieces are chosen by the sum of their scores, and not merged."""
        from sentencepiece import sentencepiece_model_pb2

        protos: Any = sentencepiece_model_pb2  # whose classes are made while it loads
        spec = protos.ModelProto.FromString(self._model.serialized_model_proto()).trainer_spec
        return bool(spec.model_type == protos.TrainerSpec.UNIGRAM)

    @property
    def engine(self) -> str:
        """What computes the ids."""
        return "sentencepiece"

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
