"""What there is to know about a tokenizer, and what it makes of a text."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.data.tokenizer import Tokenizer
from pretrain.data.tokenizers.trial import first_failure

SAMPLE = "the source of Python's module inspect"
MOST_PIECES = 200


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The facts; `pieces` only of a text that was asked for."""

    folder: Path
    tokenizer: Tokenizer
    failure: str | None  # of the trial whether it keeps every text
    sample: str  # whose text the figures below are of
    num_bytes: int
    num_tokens: int
    pieces: tuple[tuple[int, str], ...] | None

    @property
    def bytes_per_token(self) -> float | None:
        """None of an empty text."""
        return self.num_bytes / self.num_tokens if self.num_tokens else None

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        tokenizer = self.tokenizer
        facts = {
            "folder": str(self.folder),
            "kind": tokenizer.kind,
            "engine": tokenizer.engine,
            "vocab_size": tokenizer.vocab_size,
            "end_token": end_token(tokenizer),
            "end_id": tokenizer.end_id,
            "sha256": tokenizer.sha256,
            "lossless": self.failure is None,
            "failure": self.failure,
            "sample": self.sample,
            "bytes": self.num_bytes,
            "tokens": self.num_tokens,
            "bytes_per_token": self.bytes_per_token,
        }
        if self.pieces is not None:
            facts["pieces"] = [{"id": token, "text": text} for token, text in self.pieces]
        return facts


def look(folder: Path, tokenizer: Tokenizer, text: str | None) -> Inspection:
    """Try the tokenizer, and encode `text` or a sample."""
    chosen = inspect.getsource(inspect) if text is None else text
    ids = tokenizer.encode(chosen)
    failure = first_failure(tokenizer)
    return Inspection(
        folder=folder,
        tokenizer=tokenizer,
        failure=str(failure) if failure else None,
        sample=SAMPLE if text is None else "the text that was given",
        num_bytes=len(chosen.encode()),
        num_tokens=len(ids),
        pieces=None if text is None else tuple((token, tokenizer.decode([token])) for token in ids),
    )


def end_token(tokenizer: Tokenizer) -> str:
    """The name of the token that ends a document."""
    return next(name for name, token in tokenizer.control.items() if token == tokenizer.end_id)
