"""Where a config's tokenizer and shards lie: in folders named by a hash of all that they depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pretrain.data.options import DataOptions
from pretrain.data.sources.base import SourceReader

FORMAT_VERSION = 1  # of everything below data.root; raise it when the same inputs give other files


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders of one config below `root`."""

    root: Path
    tokenizer: Path
    sources: Mapping[str, Path]

    def is_built(self) -> bool:
        """Whether all is there. A folder that is there is whole."""
        return self.tokenizer.is_dir() and all(folder.is_dir() for folder in self.sources.values())


def layout(data: DataOptions, readers: Mapping[str, SourceReader]) -> Layout:
    """Changed options, files or installed packages make other folders; what other runs use stays."""
    root = Path(data.root).expanduser()
    of_source = {
        name: _hash(source.model_dump(), readers[name].identity(), data.validation_share)
        for name, source in data.sources.items()
    }
    of_tokenizer = _hash(data.tokenizer.model_dump(), sorted(of_source.values()))
    of_shards = {name: _hash(key, of_tokenizer) for name, key in of_source.items()}
    return Layout(
        root=root,
        tokenizer=root / "tokenizers" / of_tokenizer,
        sources={name: root / "shards" / f"{name}-{key}" for name, key in of_shards.items()},
    )


def _hash(*values: Any) -> str:
    text = json.dumps([FORMAT_VERSION, *values], sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
