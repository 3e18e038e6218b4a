"""What a checkpoint is called and how it is sealed; loads no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
STATE_FILE = "state.json"
LATEST = "latest"  # a text file beside the checkpoints with the name of the newest
SEAL = "sha256"  # the key of state.json that holds the hash of the others


def checkpoint_name(step: int) -> str:
    """The folder's name; names sort as steps do."""
    return f"step_{step:08d}"


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_sha256(state: Mapping[str, Any]) -> str:
    """The hash of state.json's content, its seal excepted."""
    content = {key: value for key, value in state.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
