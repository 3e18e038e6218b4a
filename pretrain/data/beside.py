"""The tokenizer that shards were encoded with, found near them by its hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrain.data.manifest import Manifest
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.errors import UserError


def tokenizer_beside(folder: Path, manifest: Manifest) -> Tokenizer | None:
    """The tokenizer of a folder of shards; None where it is not found."""
    for candidate in _candidates(folder, manifest):
        try:
            tokenizer = load_tokenizer(candidate)
        except UserError:  # one that is damaged is as good as none
            continue
        if tokenizer.sha256 == manifest.tokenizer_sha256:
            return tokenizer
    return None


def _candidates(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Where the manifest says, in the folder, beside it, and below the `data.root` that it lies in."""
    parent = folder.absolute().parent
    places = [folder / "tokenizer", parent / "tokenizer", *sorted((parent.parent / "tokenizers").glob("*"))]
    if manifest.tokenizer_folder is not None:
        places.insert(0, Path(manifest.tokenizer_folder))
    yield from (place for place in places if place.is_dir())
