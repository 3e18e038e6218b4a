"""Read a checkpoint: find it, verify it, and give its tensors by name, one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain.checkpoint.format import FORMAT, SEAL, STATE_FILE, file_sha256, state_sha256
from pretrain.checkpoint.position import Position
from pretrain.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pretrain.engine.base import Kind

NAME = re.compile(r"step_[0-9]+")


class Checkpoint:
    """A checkpoint on disk. Nothing in it can run code: safetensors and JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
            self.position = Position(**self.state["position"])
            self.files: dict[str, dict[str, Any]] = self.state["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / STATE_FILE}: not a checkpoint's state ({error}). {_ADVICE}") from None
        if self.state.get("format") != FORMAT:
            raise UserError(
                f"{folder / STATE_FILE}: format {self.state.get('format')}, this version reads {FORMAT}."
            )

    @cached_property
    def _file_of(self) -> dict[tuple[str, str], Path]:
        return {
            (file.rsplit("-", 1)[0], name): self.folder / file
            for file, entry in self.files.items()
            for name in entry["tensors"]
        }

    def tensor(self, kind: Kind, name: str) -> Tensor:
        """One fp32 tensor, on the CPU. Raises UserError where the checkpoint does not hold it."""
        from safetensors import safe_open

        path = self._file_of.get((kind, name))
        if path is None:
            raise UserError(
                f"{self.folder}: no {kind} of parameter '{name}'; is it another model's checkpoint?"
            )
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(name)

    def verify(self) -> None:
        """Compare every file with its recorded size and hash; UserError names the first that differs."""
        if self.state.get(SEAL) != state_sha256(self.state):
            raise UserError(f"{self.folder / STATE_FILE}: damaged, it is not what was saved. {_ADVICE}")
        for name, entry in self.files.items():
            path = self.folder / name
            if not path.exists():
                raise UserError(f"{path}: missing from the checkpoint. {_ADVICE}")
            if path.stat().st_size != entry["bytes"] or file_sha256(path) != entry["sha256"]:
                raise UserError(f"{path}: damaged, its bytes are not those that were saved. {_ADVICE}")


_ADVICE = "Move this step's folder away to continue from the checkpoint before it."


def checkpoints(root: Path) -> Sequence[Path]:
    """The folders of whole checkpoints, oldest first; one that was renamed is none."""
    named = (folder for folder in root.glob("step_*") if NAME.fullmatch(folder.name))
    return sorted(folder for folder in named if (folder / STATE_FILE).exists())


def newest(root: Path) -> Checkpoint | None:
    """The checkpoint with the highest step, or None."""
    found = checkpoints(root)
    return Checkpoint(found[-1]) if found else None
