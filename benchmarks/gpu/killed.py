"""A run on this device, killed again and again, against one left alone: are the metrics the same bytes?

    python -m benchmarks.gpu.killed --config tiny_moe --kills 4

Prints one JSON value, with and without `kernels.deterministic`. The runs are real ones of launch/pretrain.py,
killed by SIGKILL at updates spread over the run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
POLL_SECONDS, LIMIT_SECONDS = 0.01, 600.0


class Runs:
    """Runs of one config, below one folder."""

    def __init__(self, root: Path, config: str, overrides: Sequence[str]) -> None:
        self.root = root
        self.arguments = ["--config", config, f"run.root={root}", "--quiet", *overrides]

    def start(self, name: str, *overrides: str) -> subprocess.Popen[bytes]:
        """Start the run, or go on with it."""
        command = [sys.executable, str(ROOT / "launch" / "pretrain.py"), *self.arguments]
        with (self.root / f"{name}.log").open("ab") as log:
            return subprocess.Popen([*command, f"run.name={name}", *overrides], stdout=log, stderr=log)

    def lines(self, name: str) -> int:
        """Updates that the run has recorded."""
        path = self.root / name / "metrics.jsonl"
        return path.read_bytes().count(b'"kind":"train"') if path.exists() else 0

    def killed_at(self, name: str, step: int, *overrides: str) -> int:
        """Start the run and kill it at `step` or soon after; the update that was recorded last."""
        process, end = self.start(name, *overrides), time.monotonic() + LIMIT_SECONDS
        while self.lines(name) < step and process.poll() is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return self.lines(name)

    def finish(self, name: str, *overrides: str) -> float:
        """Run to the end; its seconds."""
        began = time.monotonic()
        code = self.start(name, *overrides).wait(LIMIT_SECONDS)
        if code:
            sys.exit(f"{name} ended with {code}:\n{(self.root / f'{name}.log').read_text()[-3000:]}")
        return time.monotonic() - began

    def metrics(self, name: str) -> bytes:
        """The bytes of its metrics."""
        return (self.root / name / "metrics.jsonl").read_bytes()


def compared(runs: Runs, kills: int, *, deterministic: bool) -> dict[str, Any]:
    """Two runs left alone and one that is killed: whether each writes what the first wrote."""
    mode = f"kernels.deterministic={str(deterministic).lower()}"
    whole, again, killed = (f"{name}-{deterministic}" for name in ("whole", "again", "killed"))
    seconds = runs.finish(whole, mode)
    updates = runs.lines(whole)
    runs.finish(again, mode)
    at = [runs.killed_at(killed, updates * (kill + 1) // (kills + 1), mode) for kill in range(kills)]
    runs.finish(killed, mode)
    return {
        "deterministic": deterministic,
        "updates": updates,
        "seconds": seconds,
        "killed_at": at,
        "equal_when_repeated": runs.metrics(whole) == runs.metrics(again),
        "equal_when_killed": runs.metrics(whole) == runs.metrics(killed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", default="tiny_moe")
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), asked.config, ["trackers.tensorboard=false", *asked.overrides])
        found = [compared(runs, asked.kills, deterministic=flag) for flag in (True, False)]
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
