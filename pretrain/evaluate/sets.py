"""Named sets of text that no stage trains on, as rows: encoded when a run starts, on every rank alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from pretrain.data.packing import PADDING
from pretrain.data.sources.base import Document
from pretrain.data.sources.options import AnyText
from pretrain.errors import UserError


class Encoder(Protocol):
    """What a set needs of a tokenizer."""

    @property
    def end_id(self) -> int:
        """The token that ends a document."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


def open_sets(
    sets: Mapping[str, AnyText], tokenizer: Encoder, *, sequence_length: int, sequences: int
) -> dict[str, np.ndarray]:
    """The first `sequences` sequences of each set, int32 [.., S + 1]; no more of it is read.

    Documents are joined as in training. The last row of a set that ends before is padded, so that every token
    but the first is once a target.
    """
    return {
        name: _rows(name, options, tokenizer, sequence_length, sequences) for name, options in sets.items()
    }


def _rows(
    name: str, options: AnyText, tokenizer: Encoder, sequence_length: int, sequences: int
) -> np.ndarray:
    wanted = sequences * sequence_length + 1
    tokens: list[int] = []
    for text in _texts(name, options):
        tokens += tokenizer.encode(text)
        tokens.append(tokenizer.end_id)
        if len(tokens) >= wanted:
            break
    if len(tokens) < 2:
        raise UserError(f"evaluate.sets.{name}: there is no usable text. Point it at text in UTF-8.")
    count = min(sequences, -(-(len(tokens) - 1) // sequence_length))
    joined = np.full(count * sequence_length + 1, PADDING, np.int32)
    joined[: len(tokens)] = tokens[: len(joined)]
    starts = np.arange(count)[:, None] * sequence_length
    return joined[starts + np.arange(sequence_length + 1)]


def _texts(name: str, options: AnyText) -> Iterator[str]:
    """What the source of a set yields that is text in UTF-8, and not only white space."""
    from pretrain.data.sources.registry import open_source

    try:
        for item in open_source(name, options).documents():
            if isinstance(item, Document) and item.text.strip() and _is_unicode(item.text):
                yield item.text
    except UserError as error:
        raise UserError(str(error).replace(f"data.sources.{name}", f"evaluate.sets.{name}")) from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell
        return False
    return True
