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
from pretrain.data.sources.options import TextSource
from pretrain.data.tokenizer_options import TrainedOptions
from pretrain.data.tokenizers.making import tokenizer_identity

TOKENIZERS = "tokenizers"  # the folder of tokenizers below data.root
FORMAT_VERSION = 1  # of everything below data.root; raise it when the same inputs give other files


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders of one config below `root`; sources that are used in place have none."""

    root: Path
    tokenizer: Path
    sources: Mapping[str, Path]
    texts: Mapping[str, str]  # a hash of all that a source's text depends on

    def is_built(self) -> bool:
        """Whether all is there. A folder that is there is whole."""
        return self.tokenizer.is_dir() and all(folder.is_dir() for folder in self.sources.values())


def layout(data: DataOptions, readers: Mapping[str, SourceReader]) -> Layout:
    """Changed options, files or installed packages make other folders; what other runs use stays."""
    root = Path(data.root).expanduser()
    of_source = {
        name: text_key(source, readers[name], data.validation_share)
        for name, source in data.sources.items()
        if isinstance(source, TextSource)
    }
    is_trained = data.tokenizer.kind == "sentencepiece"
    of_texts = sorted(of_source.values()) if is_trained else []
    of_tokenizer = key(tokenizer_identity(data.tokenizer), of_texts)
    if isinstance(data.tokenizer, TrainedOptions) and is_below(data.tokenizer.folder, root / TOKENIZERS):
        of_tokenizer = data.tokenizer.folder.name  # with the shards that were made by it
    return Layout(
        root=root,
        tokenizer=root / TOKENIZERS / of_tokenizer,
        sources={
            name: root / "shards" / f"{name}-{key(text, of_tokenizer)}" for name, text in of_source.items()
        },
        texts=of_source,
    )


def is_below(folder: Path, parent: Path) -> bool:
    """Whether one folder lies directly in the other."""
    return folder.absolute().parent == parent.absolute()


def text_key(source: TextSource, reader: SourceReader, share: float) -> str:
    """What the text of a source, and which of it is held out, depend on."""
    return key(source.inputs(), reader.identity(), share)


def key(*values: Any) -> str:
    """A short hash of values that JSON can hold."""
    text = json.dumps([FORMAT_VERSION, *values], sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
