"""A job that was submitted to Slurm, watched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trial import RunFiles

SECONDS = 150  # of any one wait: many times what it takes


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that was submitted."""

    number: int
    log: Path
    ask: Callable[..., str]  # gives Slurm a command

    def show(self) -> dict[str, str]:
        """What Slurm says of it."""
        words = self.ask("scontrol", "--oneliner", "show", "job", str(self.number))
        return dict(re.findall(r"(\w+)=(\S*)", words))

    @property
    def output(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until(self, *states: str) -> dict[str, str]:
        """Wait until Slurm calls it one of `states`."""
        end = time.monotonic() + SECONDS
        while (seen := self.show())["JobState"] not in states:
            assert time.monotonic() < end, f"{seen}\n{self.output[-6000:]}"
            time.sleep(0.2)
        return seen

    def until_step(self, run: RunFiles, step: int) -> None:
        """Wait until the run that it trains has made `step` updates."""
        end = time.monotonic() + SECONDS
        while len(run.lines(kind="train")) < step:
            seen = self.show()
            assert seen["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"), self.output[
                -6000:
            ]
            assert time.monotonic() < end, f"{seen}\n{self.output[-6000:]}"
            time.sleep(0.05)


def asked(run: RunFiles) -> list[dict[str, Any]]:
    """What a job noted each time it asked whether to be queued again."""
    path = run.folder / "slurm.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
