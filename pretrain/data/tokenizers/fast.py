"""A tokenizer of transformers, computed by its fast library or by tiktoken with the same ids.

Text stays text: what spells a control token is encoded as the letters it is made of, so that no document can
hold one. Added tokens that are no control tokens are found in text, as everywhere.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pretrain.data.tokenizers.byte_level import Unsuited, is_byte_level
from pretrain.data.tokenizers.definition import TOKENIZER_FILE, Definition
from pretrain.data.tokenizers.engines import LibraryEngine, choose
from pretrain.data.tokenizers.pieces import token_texts
from pretrain.data.tokenizers.probes import AWKWARD
from pretrain.data.tokenizers.stretches import CUT, stretches
from pretrain.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

STRETCHES_AT_ONCE = 16


class TransformersTokenizer:
    """What tokenizer.json defines."""

    kind = "transformers"

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.sha256 = definition.sha256
        self.vocab_size = definition.vocab_size
        self.end_id = definition.special[definition.end]
        self.control = dict(definition.special)
        self.library = _library(definition)
        self._plain = LibraryEngine(self.library, "")
        self._engine = choose(definition, self.library)
        self._may_be_cut = self._cuts_change_nothing()

    @property
    def engine(self) -> str:
        """What computes the ids, and why nothing faster does."""
        return self._engine.name

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without an end token. UnicodeEncodeError for lone surrogates."""
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> array[int]:
        """The same in 4 bytes a token, for texts of any length."""
        text.encode()  # the library would fail on a surrogate with words that help nobody
        parts = stretches(text) if self._may_be_cut else iter([text] if text else ())
        ids = array("i")
        while some := list(islice(parts, STRETCHES_AT_ONCE)):
            ids.extend(self._ids(some))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none, nor have ids beyond the vocabulary."""
        known = [token for token in ids if token < self.vocab_size and token not in self._control_ids]
        if is_byte_level(self.definition.content):
            return b"".join(self._texts[token] for token in known).decode("utf-8", errors="replace")
        return str(self.library.decode(known, skip_special_tokens=False))

    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each token stands for, control tokens 0: the denominator of bits per byte."""
        return np.array([len(text) for text in self._texts], dtype=np.int64)

    @cached_property
    def _texts(self) -> list[bytes]:
        return token_texts(self.definition, self.library)

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        return frozenset(self.control.values())

    def _ids(self, texts: Sequence[str]) -> array[int]:
        try:
            return self._engine.ids(texts)
        except Unsuited:  # a text that the faster engine cannot do
            return self._plain.ids(texts)

    def _cuts_change_nothing(self) -> bool:
        """Whether the places to cut are no places inside a token of this tokenizer."""
        for token in self.definition.plain_added:
            looks_around = any(token.get(flag) for flag in ("single_word", "lstrip", "rstrip"))
            if looks_around or CUT.search(token["content"]):
                return False
        return all(self._ids([text]) == self._ids(list(stretches(text, 0))) for text in AWKWARD.values())


def _library(definition: Definition) -> Library:
    """The library's tokenizer, set to take control tokens for text and a text for all of it."""
    from tokenizers import Tokenizer as Library

    file = definition.folder / TOKENIZER_FILE
    try:
        if definition.unmarked:
            library = Library.from_str(json.dumps(_marked(definition)))
        else:
            library = Library.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{file}: the tokenizers library cannot read it: {error}") from error
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = True
    return library


def _marked(definition: Definition) -> dict[str, object]:
    """The content with all control tokens marked as such, which some folders do in their config alone."""
    added = {token["id"]: dict(token) for token in definition.content["added_tokens"]}
    for name in definition.unmarked:
        token = definition.special[name]
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added[token] = {"id": token, "content": name, **flags} | added.get(token, {}) | {"special": True}
    return {**definition.content, "added_tokens": [added[token] for token in sorted(added)]}
