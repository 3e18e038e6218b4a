"""Token shards that are there already, used where they are: nothing is copied or written beside them.

Either a folder that `pretrain data build` made, or a pair `PREFIX.bin` and `PREFIX.idx` of Megatron-LM or of
a program with the same format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pretrain.data.corpus import SourceShards
from pretrain.data.manifest import MANIFEST_FILE, read_manifest
from pretrain.data.progress import Progress, SilentProgress
from pretrain.data.shard_index import pair_file
from pretrain.data.shards import TokenShard
from pretrain.data.sources.foreign import ForeignPair
from pretrain.data.tokenizer import Tokenizer
from pretrain.data.verify import Verified, demand, verify_folder, verify_pair
from pretrain.errors import UserError, nearest


class InPlace(Protocol):
    """The options of such a source."""

    @property
    def path(self) -> str:
        """A folder, or the prefix of a pair."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a path means: a folder of ours, or the prefix of a pair."""

    folder: Path | None = None
    prefix: Path | None = None


def find_in_place(key: str, path: str) -> Found:
    """What `path` means; `key` names it in messages."""
    where = Path(path).expanduser()
    if (where / MANIFEST_FILE).is_file():
        return Found(folder=where)
    prefix = where.with_suffix("") if where.suffix in (".bin", ".idx") else where
    if pair_file(prefix, "idx").is_file() or pair_file(prefix, "bin").is_file():
        return Found(prefix=prefix)
    if where.is_dir():
        pairs = sorted(file.stem for file in where.glob("*.idx"))
        inside = sorted(str(file.parent) for file in where.glob("*/**/" + MANIFEST_FILE))
        names = ", ".join(pairs[:10] or inside[:10]) or "none of either"
        raise UserError(
            f"{key}: the folder '{path}' has no {MANIFEST_FILE}, so `pretrain data build` did not make it."
            f" Name one folder of shards, or one pair, without .bin or .idx; there are: {names}."
        )
    folder = prefix.absolute().parent
    there = sorted(file.stem for file in folder.glob("*.idx")) if folder.is_dir() else []
    raise UserError(
        f"{key}: there is neither a folder '{path}' nor a pair {prefix.name}.bin and {prefix.name}.idx in"
        f" {folder}.{nearest(prefix.name, there)}"
    )


def open_in_place(
    name: str,
    options: InPlace,
    tokenizer: Tokenizer,
    validation_share: float,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> SourceShards:
    """The shards of source `name`, once they fit the tokenizer; with `strict`, once all of them is read.

    A folder keeps the share that it was built with; of a pair, whole documents from the end are held out.
    """
    key = f"data.sources.{name}"
    found = find_in_place(f"{key}.path", options.path)
    if strict:
        demand(verify_found(found, tokenizer, progress or SilentProgress()))
    if found.folder is not None:
        return _open_folder(key, found.folder, tokenizer)
    assert found.prefix is not None
    return ForeignPair(name, found.prefix, tokenizer).open(validation_share)


def verify_found(found: Found, tokenizer: Tokenizer | None, progress: Progress) -> Verified:
    """Read all of it."""
    if found.folder is not None:
        return verify_folder(found.folder, tokenizer, progress)
    assert found.prefix is not None
    return verify_pair(found.prefix, tokenizer, progress)


def _open_folder(key: str, folder: Path, tokenizer: Tokenizer) -> SourceShards:
    manifest = read_manifest(folder)
    if manifest.tokenizer_sha256 != tokenizer.sha256:
        raise UserError(
            f"{key}.path: '{folder}' was encoded with tokenizer {manifest.tokenizer_sha256[:12]}, and this"
            f" config's is {tokenizer.sha256[:12]}. Choose that tokenizer in data.tokenizer, or build the"
            " shards again with this one."
        )
    train, validation = TokenShard(folder / "train"), TokenShard(folder / "validation")
    return SourceShards(train=train, validation=validation, manifest=manifest)
