"""What a checkpoint holds, read from its JSON and the headers of its files. Loads no torch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.checkpoint.format import SEAL
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.tensor_file import read_shapes
from pretrain.errors import UserError

OWN = ("step", "tokens", "sequence")  # of the position; the rest is what the guard and the router remember


@dataclass(frozen=True, kw_only=True)
class Held:
    """The tensors of one kind."""

    shapes: dict[str, tuple[int, ...]]

    @property
    def numbers(self) -> int:
        """How many they hold together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def bytes(self) -> int:
        """Of fp32."""
        return 4 * self.numbers


def held(checkpoint: Checkpoint) -> dict[str, Held]:
    """What is there by kind (weight, first and second moment); UserError names a file that is none."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for file, entry in checkpoint.files.items():
        if entry["tensors"]:
            shapes.setdefault(file.rsplit("-", 1)[0], {}).update(_shapes(checkpoint.folder / file))
    return {kind: Held(shapes=found) for kind, found in shapes.items()}


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything as JSON values."""
    state, kinds = checkpoint.state, held(checkpoint)
    position = state["position"]
    return {
        "path": str(checkpoint.folder),
        "format": state["format"],
        **{key: position.get(key) for key in OWN},
        "validation_loss": state.get("score"),
        "guard": {key: value for key, value in position.items() if key not in OWN},
        "config_sha256": _digest(state.get("config")),
        "config": state.get("config"),
        "fingerprint": state.get("fingerprint", {}),
        "parameters": {
            kind: {
                "tensors": len(one.shapes),
                "numbers": one.numbers,
                "bytes": one.bytes,
                "shapes": {name: list(shape) for name, shape in one.shapes.items()},
            }
            for kind, one in kinds.items()
        },
        "files": {name: entry["bytes"] for name, entry in checkpoint.files.items()},
        "saved": state.get("saved"),
        "sha256": state.get(SEAL),
    }


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if path.exists() and not path.is_file():  # a pipe would never end
        raise UserError(f"{path}: not a file. `pretrain checkpoint verify` lists what is damaged.")
    try:
        return read_shapes(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}. `pretrain checkpoint verify` lists what is damaged.") from None


def _digest(config: Any) -> str | None:
    """The hash of a config, for comparing two at a glance."""
    if config is None:
        return None
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
