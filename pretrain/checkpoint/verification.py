"""Whether what a path means is whole: one checkpoint, or every checkpoint of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.checkpoint.find import what_it_is
from pretrain.checkpoint.format import STATE_FILE
from pretrain.checkpoint.load import step_folders
from pretrain.checkpoint.manifest import Damage, NoState, damages, read_state
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A checkpoint that was read from end to end."""

    folder: Path
    damages: Sequence[Damage]

    @property
    def bytes(self) -> int:
        """Of its files, by its manifest."""
        try:
            return sum(entry["bytes"] for entry in read_state(self.folder)["files"].values())
        except NoState:
            return 0

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        problems = [{"file": str(one.path), "what": one.what, "detail": one.detail} for one in self.damages]
        return {"path": str(self.folder), "whole": not problems, "bytes": self.bytes, "problems": problems}


def verify_path(path: Path) -> list[Verified]:
    """Every checkpoint that `path` means; UserError where it means none."""
    return [Verified(folder=folder, damages=damages(folder)) for folder in _folders(path)]


def _folders(path: Path) -> Sequence[Path]:
    runs = [folders for root in (path / "checkpoints", path) if (folders := step_folders(root))]
    if runs:
        return runs[0]
    # a checkpoint without its state.json is one all the same, if it has the files or the name
    is_one = (path / STATE_FILE).is_file() or any(path.glob("*.safetensors")) or path.name.startswith("step_")
    if path.is_dir() and is_one and not (path / "config.json").is_file():
        return [path]
    raise UserError(f"{path}: {what_it_is(path)}")
