"""Which checkpoints stay: the newest few, and every n-th for ever."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pretrain.checkpoint.load import checkpoints
from pretrain.checkpoint.options import CheckpointOptions


def expendable(steps: Sequence[int], options: CheckpointOptions) -> list[int]:
    """Of ascending steps, those that may go."""
    older = steps[: -options.keep_last]
    return [step for step in older if not (options.keep_every and step % options.keep_every == 0)]


def prune(root: Path, options: CheckpointOptions) -> None:
    """Delete the expendable checkpoints under `root`, and what killed jobs left of writing and deleting."""
    for left in root.glob(".step_*"):
        shutil.rmtree(left, ignore_errors=True)
    folders = {int(folder.name.removeprefix("step_")): folder for folder in checkpoints(root)}
    for step in expendable(sorted(folders), options):
        # renamed first: a folder that is half deleted must not look like a checkpoint
        folders[step].rename(root / f".{folders[step].name}.doomed")
    for left in root.glob(".step_*"):
        shutil.rmtree(left, ignore_errors=True)
