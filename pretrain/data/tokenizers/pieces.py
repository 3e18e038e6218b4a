"""The bytes of text that each id of a transformers tokenizer stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pretrain.data.tokenizers.byte_level import byte_alphabet, is_byte_level
from pretrain.data.tokenizers.definition import Definition

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_texts(definition: Definition, library: Library) -> list[bytes]:
    """By id; control tokens have none, nor have ids without a token."""
    added = {token["id"]: token["content"] for token in definition.content["added_tokens"]}
    control = set(definition.special.values())
    of_model = _ByteLevel() if is_byte_level(definition.content) else _Decoded(definition, library)
    texts = []
    for token in range(definition.vocab_size):
        name = library.id_to_token(token)
        if name is None or token in control:
            texts.append(b"")
        else:
            texts.append(added[token].encode() if token in added else of_model(name))
    return texts


class _ByteLevel:
    """Characters that stand for bytes."""

    def __init__(self) -> None:
        self._alphabet = byte_alphabet()

    def __call__(self, name: str) -> bytes:
        known = self._alphabet.keys() >= set(name)
        return bytes(self._alphabet[char] for char in name) if known else name.encode()


class _Decoded:
    """What the decoder makes of a token in the middle of a text; at its start some take a space away."""

    def __init__(self, definition: Definition, library: Library) -> None:
        self._library = library
        self._has_bytes = bool(definition.model.get("byte_fallback"))
        anchors = map(library.token_to_id, ("a", "▁a", "A", "e"))
        self._before = [token for token in anchors if token is not None][:1]
        self._skipped = len(library.decode(self._before))

    def __call__(self, name: str) -> bytes:
        if self._has_bytes and BYTE.fullmatch(name):
            return b"\0"  # one byte, whichever
        token = self._library.token_to_id(name)
        assert token is not None, name
        return str(self._library.decode([*self._before, token])[self._skipped :]).encode()
