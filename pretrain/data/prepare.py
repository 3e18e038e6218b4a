"""From options to an opened corpus: found below `data.root`, or built there first."""

from __future__ import annotations

from collections.abc import Callable

from pretrain.data.build import Build
from pretrain.data.corpus import Corpus, open_folders
from pretrain.data.folders import locked
from pretrain.data.layout import layout
from pretrain.data.options import DataOptions
from pretrain.data.progress import Progress
from pretrain.data.sources.base import SourceReader
from pretrain.data.sources.registry import open_source
from pretrain.errors import UserError


def prepare(data: DataOptions, *, say: Callable[[str], None], progress: Progress) -> Corpus:
    """Build what is missing and open it. Safe to call from several processes; one of them builds."""
    readers = _readers(data)
    folders = layout(data, readers)
    if folders.is_built():
        say(f"tokenizer and shards are there already, below {folders.root}")
        return open_folders(folders)
    try:
        with locked(folders.root, lambda: say(f"waiting for another build below {folders.root}")):
            Build(data=data, readers=readers, folders=folders, say=say, progress=progress).run()
    except OSError as error:
        raise UserError(f"data.root: cannot build in '{data.root}': {error}") from error
    return open_folders(folders)


def open_corpus(data: DataOptions) -> Corpus:
    """The corpus of these options, which must have been prepared."""
    folders = layout(data, _readers(data))
    if not folders.is_built():
        raise UserError(
            f"data.root: '{data.root}' does not hold this corpus on this machine (no {folders.tokenizer})."
            " It must be one folder that all machines of the run see."
        )
    return open_folders(folders)


def _readers(data: DataOptions) -> dict[str, SourceReader]:
    return {name: open_source(name, source) for name, source in data.sources.items()}
