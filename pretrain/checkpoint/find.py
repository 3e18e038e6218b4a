"""What a person means by a checkpoint: a run folder, a checkpoint in it, or what `pretrain import` made."""

from __future__ import annotations

from pathlib import Path

from pretrain.checkpoint.format import STATE_FILE
from pretrain.checkpoint.load import Checkpoint, newest
from pretrain.errors import UserError, nearest


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint at `path`, of a run its newest; UserError with advice where there is none."""
    try:
        whole = (path / STATE_FILE).is_file()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}.") from None
    if whole:
        return Checkpoint(path)
    checkpoint = newest(path / "checkpoints") or newest(path)
    if checkpoint is None:
        raise UserError(f"{path}: {what_it_is(path)}")
    return checkpoint


def what_it_is(path: Path) -> str:
    """Why `path` is no checkpoint, and what to do."""
    if (path / "config.json").is_file():
        return f"a folder of transformers; `pretrain import {path} OUT` makes a checkpoint of it."
    if path.is_dir():
        return "holds no whole checkpoint. Name a run folder, a checkpoint or what `pretrain import` wrote."
    siblings = [folder.name for folder in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"no such folder.{nearest(path.name, siblings)}"
