"""What killed jobs leave beside checkpoints: half written, half deleted, half replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

from pretrain.checkpoint.format import LATEST
from pretrain.files import sync

REPLACED = ".replaced"  # a checkpoint whose place a newer one of the same step is about to take
DOOMED = ".doomed"  # a checkpoint that is being deleted


def settle(root: Path) -> None:
    """Give back its name to a checkpoint that was to be replaced, where the new one did not come."""
    for replaced in root.glob(f".step_*{REPLACED}"):
        target = root / replaced.name.removeprefix(".").removesuffix(REPLACED)
        if not target.exists():
            replaced.rename(target)
            sync(root)


def sweep(root: Path) -> None:
    """Delete everything that is not a checkpoint and was going to be one, or was one."""
    settle(root)
    for left in root.glob(".step_*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in root.glob(f".{LATEST}.*.tmp"):
        left.unlink(missing_ok=True)
