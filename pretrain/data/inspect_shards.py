"""What shards hold, in numbers and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.data.beside import tokenizer_beside
from pretrain.data.manifest import Manifest, read_manifest
from pretrain.data.shards import TokenShard
from pretrain.data.sources.in_place import find_in_place
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.errors import UserError

QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95, "max": 1.0}
BLOCKS, BLOCK = 2048, 1024  # documents whose lengths are looked at, where there are more
FIRST_DOCUMENTS, FIRST_TOKENS = 3, 60  # shown as text


@dataclass(frozen=True, kw_only=True)
class Side:
    """Statistics of training or held-out documents."""

    documents: int
    tokens: int
    bytes: int | None  # of text; None where no tokenizer says how long tokens are
    bytes_are_estimated: bool
    lengths: Mapping[str, int]  # tokens of a document, by quantile
    first: tuple[str, ...]  # how the first documents begin

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text, end tokens counting as tokens without any."""
        return self.bytes / self.tokens if self.bytes is not None and self.tokens else None


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A folder of ours or a pair of others, opened."""

    path: Path
    sides: Mapping[str, TokenShard]
    manifest: Manifest | None
    tokenizer: Tokenizer | None

    def side(self, name: str) -> Side:
        """The statistics of one side."""
        shard = self.sides[name]
        counts = None if self.manifest is None else getattr(self.manifest, name)
        return Side(
            documents=shard.num_documents,
            tokens=shard.num_tokens,
            bytes=counts.bytes if counts else self._estimated_bytes(shard),
            bytes_are_estimated=counts is None,
            lengths=_quantiles(shard),
            first=tuple(
                self.text(shard.document(number)[:FIRST_TOKENS])
                for number in range(min(FIRST_DOCUMENTS, shard.num_documents))
            ),
        )

    def document(self, side: str, number: int) -> np.ndarray:
        """The tokens of a document."""
        shard = self.sides[side]
        if not 0 <= number < shard.num_documents:
            there = f"0 to {shard.num_documents - 1:,}" if shard.num_documents else "none"
            raise UserError(f"--document {number}: '{self.path}' has {there} in its {side} part.")
        return shard.document(number)

    def text(self, tokens: np.ndarray) -> str:
        """Tokens as text; as their numbers where there is no tokenizer."""
        if self.tokenizer is None:
            return " ".join(map(str, tokens.tolist()))
        return self.tokenizer.decode(tokens.tolist())

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        sides = {name: self.side(name) for name in self.sides}
        return {
            "path": str(self.path),
            "source": dict(self.manifest.source) if self.manifest else None,
            "tokenizer": self.manifest.tokenizer_sha256 if self.manifest else None,
            "left_out": dict(self.manifest.skipped) if self.manifest else None,
            "left_out_places": dict(self.manifest.skipped_places) if self.manifest else None,
            "sides": {
                name: vars(side) | {"bytes_per_token": side.bytes_per_token, "first": list(side.first)}
                for name, side in sides.items()
            },
        }

    def _estimated_bytes(self, shard: TokenShard) -> int | None:
        if self.tokenizer is None:
            return None
        bounds = _spread(shard.num_tokens)
        sample = np.concatenate(
            [np.empty(0, np.int64), *(shard.tokens[first:last] for first, last in bounds)]
        )
        sizes = self.tokenizer.token_bytes()
        inside = sample[(sample >= 0) & (sample < len(sizes))].astype(np.int64)
        return round(float(sizes[inside].mean()) * shard.num_tokens) if len(inside) else 0


def open_shards(path: str, tokenizer: str | None = None) -> Shards:
    """What `path` names: a folder that `pretrain data build` made, or the prefix of a pair."""
    named = load_tokenizer(Path(tokenizer).expanduser()) if tokenizer else None
    found = find_in_place("shards", path)
    if found.folder is None:
        assert found.prefix is not None
        sides = {"train": TokenShard(found.prefix)}
        return Shards(path=found.prefix, sides=sides, manifest=None, tokenizer=named)
    manifest = read_manifest(found.folder)
    return Shards(
        path=found.folder,
        sides={side: TokenShard(found.folder / side) for side in ("train", "validation")},
        manifest=manifest,
        tokenizer=named or tokenizer_beside(found.folder, manifest),
    )


def _quantiles(shard: TokenShard) -> dict[str, int]:
    """Of all documents, or of two million evenly spaced in blocks."""
    bounds = _spread(shard.num_documents)
    lengths = [np.diff(shard.starts(first, last)) for first, last in bounds]
    joined = np.concatenate([np.empty(0, np.int64), *lengths])
    if not len(joined):
        return {}
    values = np.quantile(joined, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, map(int, values), strict=True))


def _spread(size: int) -> list[tuple[int, int]]:
    """All of 0 .. size, or BLOCKS stretches of BLOCK, evenly spaced from the first to the last."""
    if size <= BLOCKS * BLOCK:
        return [(0, size)]
    starts = (block * (size - BLOCK) // (BLOCKS - 1) for block in range(BLOCKS))
    return [(start, start + BLOCK) for start in starts]
