"""From options to an opened corpus: found below `data.root`, or built there first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pretrain.data.build import Build
from pretrain.data.corpus import Corpus, open_folders
from pretrain.data.folders import locked
from pretrain.data.layout import Layout, layout
from pretrain.data.options import DataOptions
from pretrain.data.progress import Progress
from pretrain.data.sources.base import SourceReader
from pretrain.data.sources.in_place import open_in_place
from pretrain.data.sources.options import ShardsSource, TextSource
from pretrain.data.sources.registry import open_source
from pretrain.errors import UserError


def prepare(data: DataOptions, *, say: Callable[[str], None], progress: Progress) -> Corpus:
    """Build what is missing and open it. Safe to call from several processes; one of them builds."""
    readers = _readers(data)
    folders = layout(data, readers)
    if folders.is_built():
        say(f"tokenizer and shards are there already, below {folders.root}")
        return _open(data, folders, strict=data.strict, progress=progress)
    try:
        with locked(folders.root, lambda: say(f"waiting for another build below {folders.root}")):
            Build(data=data, readers=readers, folders=folders, say=say, progress=progress).run()
    except OSError as error:
        raise UserError(f"data.root: cannot build in '{data.root}': {error}") from error
    return _open(data, folders, strict=data.strict, progress=progress)


def open_corpus(data: DataOptions) -> Corpus:
    """The corpus of these options, which must have been prepared."""
    folders = layout(data, _readers(data))
    if not folders.is_built():
        raise UserError(
            f"data.root: '{data.root}' does not hold this corpus on this machine (no {folders.tokenizer})."
            " It must be one folder that all machines of the run see."
        )
    return _open(data, folders)


def _open(
    data: DataOptions, folders: Layout, *, strict: bool = False, progress: Progress | None = None
) -> Corpus:
    """What was built, and the shards that are used in place, in the order of the config."""
    corpus = open_folders(folders, strict=strict, progress=progress)
    sources = {
        name: open_in_place(
            name, source, corpus.tokenizer, data.validation_share, strict=strict, progress=progress
        )
        if isinstance(source, ShardsSource)
        else corpus.sources[name]
        for name, source in data.sources.items()
    }
    return replace(corpus, sources=sources)


def _readers(data: DataOptions) -> dict[str, SourceReader]:
    """Of the sources that are text."""
    return {
        name: open_source(name, source)
        for name, source in data.sources.items()
        if isinstance(source, TextSource)
    }
