"""Read a checkpoint: find it, verify it, and give its tensors by name, one at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain.checkpoint.format import FORMAT, STATE_FILE
from pretrain.checkpoint.manifest import NoState, damages, read_state
from pretrain.checkpoint.position import Position
from pretrain.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pretrain.engine.base import Kind

NAME = re.compile(r"step_[0-9]+")
_ADVICE = "Move this step's folder away to continue from the checkpoint before it."


class Checkpoint:
    """A checkpoint on disk. Nothing in it can run code: safetensors and JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.state: dict[str, Any] = read_state(folder)
            self.position = Position(**self.state["position"])
        except NoState as error:
            raise UserError(f"{error}. {_ADVICE}") from None
        except TypeError as error:
            raise UserError(f"{folder / STATE_FILE}: not a checkpoint's state ({error}). {_ADVICE}") from None
        self.files: dict[str, dict[str, Any]] = self.state["files"]
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
        from safetensors import SafetensorError, safe_open

        path = self._file_of.get((kind, name))
        if path is None:
            raise UserError(
                f"{self.folder}: no {kind} of parameter '{name}'; is it another model's checkpoint?"
            )
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: no file of safetensors with '{name}' ({error}). {_ADVICE}") from None

    def verify(self) -> None:
        """Compare every file with its recorded size and hash; UserError names the first that differs."""
        found = damages(self.folder, only=self.files)
        if found:
            more = f" So are {len(found) - 1} more." if len(found) > 1 else ""
            raise UserError(f"{found[0]}.{more} {_ADVICE}")


def step_folders(root: Path) -> Sequence[Path]:
    """Folders with the name of a checkpoint, oldest first, whatever is in them."""
    named = [folder for folder in root.glob("step_*") if NAME.fullmatch(folder.name)]
    return sorted(named, key=lambda folder: (step_of(folder), folder.name))


def step_of(folder: Path) -> int:
    """The step that a folder's name says."""
    return int(folder.name.removeprefix("step_"))


def checkpoints(root: Path) -> Sequence[Path]:
    """The folders of whole checkpoints, oldest first; one that was renamed is none."""
    return [folder for folder in step_folders(root) if (folder / STATE_FILE).exists()]


def newest_readable(root: Path) -> Checkpoint | None:
    """The newest checkpoint whose state reads, before any is verified: for what all of a run's say alike."""
    for folder in reversed(checkpoints(root)):
        try:
            return Checkpoint(folder)
        except UserError:
            continue  # damaged: it is named and set aside when the run is claimed
    return None


def newest(root: Path) -> Checkpoint | None:
    """The checkpoint with the highest step, or None."""
    found = checkpoints(root)
    return Checkpoint(found[-1]) if found else None
