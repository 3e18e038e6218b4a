"""The inspection of a tokenizer for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from pretrain.data.tokenizers.inspection import MOST_PIECES, Inspection, end_token


def tables(found: Inspection) -> Iterator[Table]:
    """Facts, and the pieces of a text that was given."""
    facts = Table(show_header=False, box=None)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(found):
        facts.add_row(label, escape(value))
    yield facts
    if found.pieces is not None:
        yield _pieces(found.pieces)


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    tokenizer = found.tokenizer
    yield "kind", f"{tokenizer.kind}, computed by {tokenizer.engine}"
    yield "vocabulary", f"{tokenizer.vocab_size:,} ids"
    yield "end token", f"{end_token(tokenizer)}, id {tokenizer.end_id}"
    yield "sha256", tokenizer.sha256
    yield "keeps every text", "yes" if found.failure is None else f"no: {found.failure}"
    ratio = f"{found.bytes_per_token:.2f} bytes a token" if found.bytes_per_token else "no tokens"
    yield found.sample, f"{found.num_bytes:,} bytes, {found.num_tokens:,} tokens: {ratio}"


def _pieces(pieces: tuple[tuple[int, str], ...]) -> Table:
    table = Table("id", "piece", box=None)
    for token, text in pieces[:MOST_PIECES]:
        table.add_row(str(token), escape(ascii(text) if not text.isprintable() else repr(text)))
    if len(pieces) > MOST_PIECES:
        table.add_row("...", f"{len(pieces) - MOST_PIECES:,} more")
    return table
