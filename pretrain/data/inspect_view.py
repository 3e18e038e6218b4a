"""Statistics of shards and a training sequence as a person reads them."""

from __future__ import annotations

from typing import Any

from pretrain.data.inspect_sequence import Piece, Shown
from pretrain.data.inspect_shards import QUANTILES, Shards, Side


def overview(shards: Shards) -> Any:
    """Tables of both sides, what was left out, and how the first documents begin."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    sides = {name: shards.side(name) for name in shards.sides}
    table = Table("", *sides, title=Text(str(shards.path)), title_justify="left")
    for label, values in _rows(sides).items():
        table.add_row(label, *values)
    parts: list[Any] = [table]
    if shards.manifest is not None:
        parts.append(Text("left out: " + (_reasons(shards) or "nothing")))
    if shards.tokenizer is None:
        parts.append(
            Text("no tokenizer found (--tokenizer FOLDER names one): documents are shown as numbers")
        )
    for name, side in sides.items():
        parts += [Text(f"{name} document {n}: {text!r}") for n, text in enumerate(side.first)]
    return Group(*parts)


def marked(shown: Shown) -> str:
    """A sequence as text, with a line before every document."""
    padding = f", {shown.padding:,} of padding" if shown.padding else ""
    head = (
        f"sequence {shown.sequence:,}: stage '{shown.stage}', step {shown.step:,}; sequence {shown.index:,}"
        f" of {shown.source}, epoch {shown.epoch}; {shown.sequence_length:,} tokens, of"
        f" {len(shown.documents):,} documents{padding}"
    )
    return "\n".join([head, *(_piece(number, piece) for number, piece in enumerate(shown.documents))])


def _piece(number: int, piece: Piece) -> str:
    end = "with its end token" if piece.ends else "goes on behind the sequence"
    return f"----- document {number}, tokens {piece.start:,} to {piece.end - 1:,}, {end}\n{piece.text}"


def _rows(sides: dict[str, Side]) -> dict[str, list[str]]:
    rows = {
        "documents": [f"{side.documents:,}" for side in sides.values()],
        "tokens": [f"{side.tokens:,}" for side in sides.values()],
        "bytes of text": [_bytes(side) for side in sides.values()],
        "bytes per token": [
            f"{side.bytes_per_token:.3f}" if side.bytes_per_token is not None else "?"
            for side in sides.values()
        ],
    }
    for quantile in QUANTILES:
        rows[f"tokens a document, {quantile}"] = [
            f"{side.lengths[quantile]:,}" if side.lengths else "" for side in sides.values()
        ]
    return rows


def _bytes(side: Side) -> str:
    if side.bytes is None:
        return "?"
    return f"about {side.bytes:,}" if side.bytes_are_estimated else f"{side.bytes:,}"


def _reasons(shards: Shards) -> str:
    assert shards.manifest is not None
    places = shards.manifest.skipped_places
    return "; ".join(
        f"{count:,} {reason}" + (f" (such as {places[reason][0]})" if places.get(reason) else "")
        for reason, count in shards.manifest.skipped.items()
    )
