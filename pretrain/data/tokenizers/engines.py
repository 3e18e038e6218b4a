"""What computes the ids of a transformers tokenizer: its library, or tiktoken where that gives the same."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pretrain.data.tokenizers.byte_level import BytePairs, Unsuited, byte_pairs
from pretrain.data.tokenizers.definition import Definition
from pretrain.data.tokenizers.probes import probes

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

NO_TOKEN = "\0<none>"  # tiktoken looks for special tokens: this is never allowed, so it is text as all else


class Engine(Protocol):
    """Text to ids."""

    name: str

    def ids(self, texts: Sequence[str]) -> array[int]:
        """Ids of texts that stand for themselves, joined."""


class LibraryEngine:
    """The tokenizers library."""

    def __init__(self, library: Library, why: str) -> None:
        self.name = f"tokenizers ({why})"
        self._library = library

    def ids(self, texts: Sequence[str]) -> array[int]:
        """By batches, which the library encodes outside Python's lock and on several cores."""
        ids = array("i")
        for encoding in self._library.encode_batch_fast(list(texts), add_special_tokens=False):
            ids.extend(encoding.ids)
        return ids


class TiktokenEngine:
    """tiktoken with the merges of a byte-level BPE."""

    name = "tiktoken"

    def __init__(self, pairs: BytePairs, definition: Definition) -> None:
        from tiktoken import Encoding

        self._core = Encoding(
            "byte pairs",
            pat_str=pairs.pattern,
            mergeable_ranks=dict(pairs.ranks),
            special_tokens={NO_TOKEN: len(pairs.ids)},
        )
        self._ids = np.array(pairs.ids, dtype=np.int32)
        self._lengths = np.array([len(token) for token in pairs.ranks], dtype=np.int64)
        self._added = _AddedTokens(definition)

    def ids(self, texts: Sequence[str]) -> array[int]:
        """One after the other; outside Python's lock but for the joining."""
        ids = array("i")
        for text in texts:
            for part in self._added.parts(text):
                ids.extend([part]) if isinstance(part, int) else ids.frombytes(self._of(part))
        return ids

    def _of(self, text: str) -> bytes:
        try:
            ranks = self._core.encode_to_numpy(text, disallowed_special=())
        except ValueError as error:  # as with a million spaces, in which it looks back too often
            raise Unsuited("its pattern is too much for tiktoken") from error
        if int(self._lengths[ranks].sum()) != len(text.encode()):
            raise Unsuited("its pattern leaves text out")
        return self._ids[ranks].tobytes()


class _AddedTokens:
    """Added tokens that are text, which are found in a document before merges are."""

    def __init__(self, definition: Definition) -> None:
        added = definition.content["added_tokens"]
        for token in definition.plain_added:
            if any(token.get(flag) for flag in ("single_word", "lstrip", "rstrip")):
                raise Unsuited("it has added tokens that look at their neighbours")
        if len({bool(token.get("normalized")) for token in definition.plain_added}) > 1:
            raise Unsuited("it has added tokens of two kinds")
        self._ids = {token["content"]: int(token["id"]) for token in definition.plain_added}
        # Control tokens are looked for with them, and left in the text: the longest at a place wins.
        passes = {bool(token.get("normalized")) for token in definition.plain_added}
        names = [token["content"] for token in added if bool(token.get("normalized")) in passes]
        names.sort(key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def parts(self, text: str) -> Iterator[str | int]:
        """Text, and ids of the added tokens between."""
        start = 0
        for found in self._pattern.finditer(text) if self._pattern else ():
            if found[0] in self._ids:
                if found.start() > start:
                    yield text[start : found.start()]
                yield self._ids[found[0]]
                start = found.end()
        if start < len(text):
            yield text[start:]


def choose(definition: Definition, library: Library) -> Engine:
    """tiktoken where it can represent the tokenizer and gives the same ids on every probe."""
    try:
        pairs = byte_pairs(definition, library)
        engine = TiktokenEngine(pairs, definition)
        own = LibraryEngine(library, "")
        if any(engine.ids([text]) != own.ids([text]) for text in probes()):
            raise Unsuited("tiktoken gives other ids on the probes")
    except (ImportError, AttributeError):
        return LibraryEngine(library, "tiktoken is not installed, or an old version of it")
    except (Unsuited, ValueError) as why:  # the second: a pattern that tiktoken cannot read
        return LibraryEngine(library, str(why))
    return engine
