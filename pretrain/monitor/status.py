"""status.json: whether a run is running, finished, to be continued or failed, whatever its launcher says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pretrain.files import FULL, replace

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
    text = json.dumps(asdict(Status(state=state, step=step, reason=reason))) + "\n"
    try:
        replace(run_folder / FILE, text)
    except OSError as error:
        if error.errno not in FULL or not (run_folder / FILE).exists():
            raise
        # the old file has its block: what it says may be written over where no new one can be made
        with (run_folder / FILE).open("r+b", buffering=0) as file:
            file.write(text.encode())
            file.truncate()


def read_status(run_folder: Path) -> Status | None:
    """The last status written, if there is one that reads."""
    try:
        return Status(**json.loads((run_folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
