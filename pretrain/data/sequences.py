"""The sequences of several sources of a corpus, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable

from pretrain.data.corpus import Corpus
from pretrain.data.options import Packing
from pretrain.data.packing import Packed, pack
from pretrain.errors import UserError


def pack_sources(
    corpus: Corpus, names: Iterable[str], side: str, sequence_length: int, packing: Packing = "joined"
) -> dict[str, Packed]:
    """The sequences of one side of these sources; an error for a source that has none."""
    packed = {name: pack(getattr(corpus.sources[name], side), sequence_length, packing) for name in names}
    short = [name for name, sequences in packed.items() if not len(sequences)]
    if short:
        raise UserError("\n".join(_too_little(corpus, name, side, sequence_length) for name in short))
    return packed


def _too_little(corpus: Corpus, name: str, side: str, sequence_length: int) -> str:
    manifest = corpus.sources[name].manifest
    remedy = "" if side == "train" else ", raise data.validation_share (or set it to 0: no validation)"
    return (
        f"data.sources.{name}: too little text for one {side} sequence of {sequence_length} tokens and one"
        f" more. There are {manifest.describe()}. Add text{remedy}, or lower batch.sequence_length."
    )
