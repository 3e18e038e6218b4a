"""status.json: whether a run is running, finished, to be continued or failed, whatever its launcher says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pretrain.files import replace

State = Literal["running", "finished", "continue", "failed"]
FILE = "status.json"


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands."""

    state: State
    step: int
    reason: str | None = None


def write_status(run_folder: Path, state: State, step: int, reason: str | None = None) -> None:
    """Replace the status in one go."""
    status = Status(state=state, step=step, reason=reason)
    replace(run_folder / FILE, json.dumps(asdict(status)) + "\n")


def read_status(run_folder: Path) -> Status | None:
    """The last status written, if there is one."""
    path = run_folder / FILE
    return Status(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
