"""The folder of a sweep: what it was begun with, and one process at a time for each part of it.

sweep.json     what all runs have in common; a sweep of the same name with another base is refused
results.csv    what came of the runs
runs/          a run folder each
outcomes/      how each ended
logs/          what each said
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.sweep.plan import Plan

WAIT_SECONDS = 10.0  # that the runs of a killed sweep may take to be gone
COMMON = "sweep.json"


def claim(folder: Path, part: tuple[int, int]) -> int:
    """Lock a part of the sweep for as long as the descriptor, or a copy that a child has, is open."""
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    path = folder / "locks" / f"part-{part[0]}-of-{part[1]}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > until:
                raise UserError(
                    f"{folder}: another process is at work on part {part[0]} of {part[1]} of this sweep. "
                    "Wait for it, or stop it."
                ) from None
            time.sleep(0.1)


def begin(folder: Path, plan: Plan) -> None:
    """Note what all runs have in common, or UserError where runs are there that have something else."""
    common, path = json.loads(json.dumps(_common(plan))), folder / COMMON
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if difference := _difference("", before, common):
            raise UserError(
                f"{folder}: its runs were made with {difference}. A sweep may grow by settings and budgets; "
                "for another base, choose another name."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runs", "outcomes", "logs"):
        (folder / name).mkdir(exist_ok=True)
    replace(path, json.dumps(common, indent=1) + "\n")


def _common(plan: Plan) -> dict[str, Any]:
    """The base as each run finds it, what is varied left out; and the parts of every run."""
    config = plan.planner.config(plan.settings[0]).model_dump(mode="json")
    for left in ("run.name", "run.root", *plan.settings[0].values):
        _drop(config, left.split("."))
    for free in ("guard", "trackers", "checkpoint", "stages"):
        config.pop(free, None)
    return {
        "config": config,
        "stages": [dict(stage.mix) for stage in plan.planner.config(plan.settings[0]).stages],
        "warmup_tokens": plan.planner.warmup_tokens,
        "decay": plan.options.decay.model_dump(),
    }


def _drop(node: Any, keys: list[str]) -> None:
    *above, last = keys
    for key in above:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(last, None)


def _difference(at: str, before: Any, now: Any) -> str | None:
    """`key = value, not value` of the first that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            if found := _difference(f"{at}.{key}".lstrip("."), before.get(key), now.get(key)):
                return found
        return None
    return None if before == now else f"{at} = {json.dumps(before)}, which is {json.dumps(now)} now"
