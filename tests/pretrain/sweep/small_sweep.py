"""Sweeps of runs that take a second each, started as a person starts them."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from trial import ROOT, RunFiles, Started, Trial

from pretrain.sweep.load import load_sweep
from pretrain.sweep.plan import Plan

BATCH_TOKENS = 256
SMALL: Mapping[str, Any] = {
    "run.engine": "torch",
    "model": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "schedule": {"name": "wsd", "lr_max": 0.01, "warmup_tokens": 512},
    "batch": {"sequences": 4, "sequence_length": 64, "micro_sequences": 4},
    "checkpoint.every_steps": 5,
    "evaluate": {"every_steps": None, "sequences": 32},  # 8 passes, enough for a standard error
}


class Sweeps:
    """A folder where sweeps are started from."""

    def __init__(self, folder: Path) -> None:
        self.trial = Trial(folder)
        self.folder = folder

    def write(self, name: str, **keys: Any) -> Path:
        """A sweep file; `set` is added to what all small runs have."""
        sweep = {"name": name, "base": "dense.yaml", "budgets": [5120], **keys}
        sweep["set"] = {**SMALL, **keys.get("set", {})}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(sweep, sort_keys=False))
        return path

    def plan(self, name: str, part: tuple[int, int] = (1, 1)) -> Plan:
        """What its file says."""
        return Plan(load_sweep(str(self.folder / f"{name}.yaml")), part)

    def start(self, name: str, *arguments: str) -> Started:
        """Begin or go on with a sweep and return at once."""
        command = [sys.executable, "-m", "pretrain.cli", "sweep", f"{name}.yaml", *arguments]
        log = self.folder / f"sweep-{name}.{len(self.trial.started)}.log"
        environment = self.trial.environment | {"PYTHONPATH": str(ROOT)}
        started = Started(command, self.folder, log, environment)
        self.trial.started.append(started)
        return started

    def made(self, name: str, *arguments: str, code: int = 0) -> Path:
        """Make a sweep to its end; its folder."""
        ended = self.start(name, *arguments).wait()
        assert ended.code == code, ended.output[-4000:]
        return self.folder / "sweeps" / name

    def files(self, name: str, run: str) -> RunFiles:
        """A run folder of a sweep."""
        return RunFiles(self.folder / "sweeps" / name / "runs" / run)

    def rows(self, name: str) -> dict[str, dict[str, str]]:
        """results.csv, by run."""
        path = self.folder / "sweeps" / name / "results.csv"
        with path.open(newline="") as file:
            return {row["run"]: row for row in csv.DictReader(file)}

    def updates(self, name: str) -> int:
        """Lines of all metrics so far: how far a sweep is."""
        files = (self.folder / "sweeps" / name / "runs").glob("*/metrics.jsonl")
        return sum(path.read_bytes().count(b'"kind":"train"') for path in files)

    def until(self, started: Started, name: str, updates: int) -> None:
        """Wait until so many updates are made; the sweep must still be running then."""
        end = time.monotonic() + 240
        while self.updates(name) < updates:
            assert started.process.poll() is None, started.output[-4000:]
            assert time.monotonic() < end, started.output[-4000:]
            time.sleep(0.02)

    def close(self) -> None:
        """Leave no process behind."""
        self.trial.close()


def descendants(pid: int) -> list[int]:
    """All processes that a process started, and they, and so on."""
    found = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def gone(pids: list[int], seconds: float = 20) -> bool:
    """Whether all of these end within so long."""
    end = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """As the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)


def outcome(folder: Path, run: str) -> dict[str, Any]:
    """What was kept of how a run ended."""
    return json.loads((folder / "outcomes" / f"{run}.json").read_text())
