"""Whether a run that has ended is started again: by its exit code, its status and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pretrain.checkpoint.format import STATE_FILE
from pretrain.monitor.status import FILE, Status, read_status

MISTAKE = 2  # the exit code of what no second start can mend
MAX_WAIT_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one start of a run ended."""

    code: int
    status: Status | None  # as this start left it; None: it left none
    saved_step: int  # of the newest checkpoint


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now: start again after `wait_seconds`, or leave with `code`."""

    again: bool
    why: str
    code: int = 0
    wait_seconds: float = 0.0


class Restarts:
    """The starts of one run so far."""

    def __init__(self, *, max_restarts: int, wait_seconds: float) -> None:
        self.max_restarts = max_restarts
        self.wait_seconds = wait_seconds
        self.made = 0
        self.saved_step: int | None = None  # at the last crash

    def decide(self, ending: Ending) -> Decision:
        """After a start has ended."""
        code, state = ending.code, ending.status.state if ending.status else None
        if state == "finished":
            return Decision(again=False, why="the run is finished")
        if code == 0 and state == "continue":
            return Decision(again=False, why="the run was stopped, and can be continued")
        if code == MISTAKE:
            return Decision(again=False, why="a mistake that no second start can mend", code=code)
        crashed = code or 1  # a launcher may say 0 when its own launcher was killed
        progress = self.saved_step is None or ending.saved_step > self.saved_step
        if not progress:
            why = f"no checkpoint was written since the last crash (step {ending.saved_step})"
            return Decision(again=False, why=why, code=crashed)
        if self.made >= self.max_restarts:
            return Decision(again=False, why=f"it was started again {self.made} times", code=crashed)
        self.saved_step = ending.saved_step
        self.made += 1
        wait_seconds = min(MAX_WAIT_SECONDS, self.wait_seconds * 2 ** (self.made - 1))
        return Decision(again=True, why=_reason(ending), wait_seconds=wait_seconds)


def newest_step(run_folder: Path) -> int:
    """The step of the newest whole checkpoint; 0 where there is none."""
    found = (file.parent.name for file in run_folder.glob(f"checkpoints/step_*/{STATE_FILE}"))
    steps = [name.removeprefix("step_") for name in found]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def status_since(run_folder: Path, before: tuple[int, int] | None) -> Status | None:
    """status.json, if it is another file than the one that `stamp` saw."""
    return read_status(run_folder) if stamp(run_folder) not in (None, before) else None


def stamp(run_folder: Path) -> tuple[int, int] | None:
    """What tells one status.json from the next: it is replaced, never written over."""
    try:
        facts = (run_folder / FILE).stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _reason(ending: Ending) -> str:
    said = f": {ending.status.reason}" if ending.status and ending.status.reason else ""
    return f"exit code {ending.code}{said}"
