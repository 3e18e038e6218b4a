"""A prepared corpus: the tokenizer and the shards of every source, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pretrain.data.layout import Layout
from pretrain.data.manifest import Manifest, read_manifest
from pretrain.data.progress import Progress, SilentProgress
from pretrain.data.shards import TokenShard
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.verify import demand, verify_folder
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SourceShards:
    """The two sides of one source."""

    train: TokenShard
    validation: TokenShard
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """All that a run reads."""

    tokenizer: Tokenizer
    sources: Mapping[str, SourceShards]

    def fingerprint(self) -> dict[str, str]:
        """Hashes of tokenizer and shards by name: a run only goes on from a checkpoint with the same."""
        hashes = {"tokenizer": self.tokenizer.sha256}
        for name, source in self.sources.items():
            for side in ("train", "validation"):
                hashes[f"{name}.{side}"] = source.manifest.files[f"{side}.bin"].sha256
        return hashes


def open_folders(folders: Layout, *, strict: bool = False, progress: Progress | None = None) -> Corpus:
    """The corpus in these folders; with `strict`, once all of it is read and no byte has changed."""
    tokenizer = load_tokenizer(folders.tokenizer)
    sources = {}
    for name, folder in folders.sources.items():
        manifest = read_manifest(folder)
        if manifest.tokenizer_sha256 != tokenizer.sha256:
            raise UserError(
                f"{folder} was encoded with another tokenizer than {folders.tokenizer}: delete both."
            )
        if strict:
            demand(verify_folder(folder, tokenizer, progress or SilentProgress()))
        train, validation = TokenShard(folder / "train"), TokenShard(folder / "validation")
        sources[name] = SourceShards(train=train, validation=validation, manifest=manifest)
    return Corpus(tokenizer=tokenizer, sources=sources)
