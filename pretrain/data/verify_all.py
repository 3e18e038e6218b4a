"""All the shards that a path or a config means, verified one after the other."""

from __future__ import annotations

from pathlib import Path

from pretrain.data.beside import tokenizer_beside
from pretrain.data.layout import Layout, layout
from pretrain.data.manifest import MANIFEST_FILE, Manifest
from pretrain.data.options import DataOptions
from pretrain.data.progress import Progress
from pretrain.data.sources.in_place import Found, find_in_place, verify_found
from pretrain.data.sources.options import ShardsSource
from pretrain.data.sources.registry import open_source
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.verify import Verified, verify_folder
from pretrain.errors import UserError


def verify_path(path: str, tokenizer: str | None, progress: Progress) -> list[Verified]:
    """A folder of shards, all such folders below one, or a pair."""
    named = load_tokenizer(Path(tokenizer).expanduser()) if tokenizer else None
    folder = Path(path).expanduser()
    below = sorted(file.parent for file in folder.glob(f"**/{MANIFEST_FILE}")) if folder.is_dir() else []
    if not below:
        return [verify_found(find_in_place("shards", path), named, progress)]
    return [verify_folder(one, named or _beside(one), progress) for one in below]


def verify_config(data: DataOptions, progress: Progress) -> list[Verified]:
    """The tokenizer and every source of a config."""
    folders = _folders(data)
    if not folders.is_built():
        raise UserError(
            f"data.root: '{data.root}' does not hold this corpus (no {folders.tokenizer}); build it."
        )
    tokenizer = load_tokenizer(folders.tokenizer)
    found = {name: Found(folder=folder) for name, folder in folders.sources.items()}
    for name, source in data.sources.items():
        if isinstance(source, ShardsSource):
            found[name] = find_in_place(f"data.sources.{name}.path", source.path)
    return [verify_found(found[name], tokenizer, progress) for name in data.sources]


def _folders(data: DataOptions) -> Layout:
    built = {name: source for name, source in data.sources.items() if not isinstance(source, ShardsSource)}
    return layout(data, {name: open_source(name, source) for name, source in built.items()})


def _beside(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder whose manifest may be damaged."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return tokenizer_beside(folder, manifest)
