"""A checkpoint that is being written: aside, then under its name in one go, then pointed at.

step_00000100/
    weight-00000.safetensors ...       fp32, by parameter name
    exp_avg-00000.safetensors ...      first moments
    exp_avg_sq-00000.safetensors ...   second moments
    state.json                         position, config, hashes of data, tokenizer, files and itself
latest                                 the newest folder's name, for people and scripts; not read when loading
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain.checkpoint.format import FORMAT, LATEST, SEAL, STATE_FILE, checkpoint_name, state_sha256
from pretrain.checkpoint.leavings import REPLACED, sweep
from pretrain.checkpoint.space import check_space
from pretrain.files import replace, sync


class Aside:
    """The folder beside a checkpoint in which it grows; only the first rank begins, commits and abandons."""

    def __init__(self, root: Path, step: int) -> None:
        self.root = root
        self.target = root / checkpoint_name(step)
        self.folder = root / f".{self.target.name}.partial"

    def begin(self, needed: int) -> None:
        """Make the folder, without what a kill left; OSError where `needed` bytes are not free."""
        self.root.mkdir(parents=True, exist_ok=True)
        sweep(self.root)
        check_space(self.root, needed)
        self.folder.mkdir()

    def commit(self, facts: Mapping[str, Any], files: Mapping[str, Any]) -> Path:
        """Seal the files with state.json and give the folder its name; everything is on the disk before."""
        write_state(self.folder, {**facts, "files": dict(files)})
        sync(self.folder)
        replaced = self.root / f".{self.target.name}{REPLACED}"
        if self.target.exists():
            self.target.rename(replaced)
        self.folder.rename(self.target)
        sync(self.root)
        shutil.rmtree(replaced, ignore_errors=True)
        return self.target

    def abandon(self) -> None:
        """Remove what was written; what was there before is untouched."""
        shutil.rmtree(self.folder, ignore_errors=True)
        sweep(self.root)


def point_latest(root: Path, name: str) -> None:
    """Write down which checkpoint is the newest."""
    replace(root / LATEST, f"{name}\n")


def write_state(folder: Path, content: Mapping[str, Any]) -> None:
    """Write state.json, sealed, into a folder that is not yet a checkpoint."""
    state = json.loads(json.dumps({"format": FORMAT, **content}))  # what a reader will see, and hash
    replace(folder / STATE_FILE, json.dumps(state | {SEAL: state_sha256(state)}, indent=1))
