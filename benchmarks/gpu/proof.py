"""Half an hour on one GPU: parity of its kernels, speed and memory of the 3B models, as a JSON and a page.

    python -m benchmarks.gpu.proof --minutes 30

Both files are written anew after every step, so that a proof that is cut off keeps what it has. Exit code: 0
where all that was tried went well, 1 where something failed (the page says what), 2 where there is no CUDA
device.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.outcome import ROOT, parity, repeatable, run
from benchmarks.gpu.page import page
from benchmarks.gpu.trials import Trial, trials, why_not
from pretrain.files import replace

TRIAL_SECONDS, PARITY_SECONDS, FACTS_SECONDS, REPEAT_SECONDS = 240, 480, 120, 240
LEAST_SECONDS = 45  # left, for another trial to be begun
UPDATES, WARM_UP = 6, 3


def proof(minutes: float, command: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """The findings so far, after every step."""
    end = time.monotonic() + 60 * minutes

    def left(at_most: float) -> float:
        return max(1.0, min(at_most, end - time.monotonic()))

    found: dict[str, Any] = {"command": command, "updates": UPDATES, "warm_up": WARM_UP}
    found["facts"] = run(["-m", "benchmarks.gpu.facts"], FACTS_SECONDS)
    yield found
    if found["facts"]["state"] != "ran":
        return
    facts = found["facts"]["result"]
    planned = trials(facts["memory_bytes"], quick=quick)
    found["trials"] = [
        _asked(trial) | {"state": "not run", "error": "the proof was cut off"} for trial in planned
    ]
    found["parity"] = parity(left(PARITY_SECONDS))
    yield found
    found["repeatable"] = repeatable(left(REPEAT_SECONDS))
    yield found
    for row, trial in zip(found["trials"], planned, strict=True):
        reason = why_not(trial, facts["memory_bytes"])
        if reason is None and end - time.monotonic() < LEAST_SECONDS:
            reason = f"the {minutes:g} minutes were over"
        del row["error"]
        row |= {"error": reason} if reason else tried(trial, facts, left(TRIAL_SECONDS))
        yield found


def _asked(trial: Trial) -> dict[str, Any]:
    return asdict(trial) | {"planned_bytes": trial.planned_bytes}


def tried(trial: Trial, facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What became of a trial, and the figures that are read off it."""
    numbers = ["--updates", str(UPDATES), "--warm-up", str(WARM_UP)]
    outcome = run(
        ["-m", "benchmarks.gpu.trial", "--config", trial.config, *numbers, *trial.overrides], seconds
    )
    if outcome["state"] != "ran":
        return outcome
    result = outcome["result"]
    losses, peak = result["losses"], result["memory"].get("peak_allocated_bytes")
    finite = all(math.isfinite(loss) for loss in losses)
    written = [loss if math.isfinite(loss) else None for loss in losses]  # JSON has no NaN
    speed = result["tokens_per_second"] * trial.flops_per_token
    return outcome | {
        "result": result | {"losses": written},
        "share_of_measured": speed / facts["measured_flops"],
        "memory_over_plan": peak / result["memory"]["planned_bytes"] if peak else None,
        "losses_finite": finite,
        "losses_fall": finite and losses[-1] < losses[0],
    }


def failed(found: dict[str, Any]) -> bool:
    """Whether something that was tried went wrong; what could not fit and was not tried did not."""
    steps = [found["facts"], found.get("parity", {}), found.get("repeatable", {}), *found.get("trials", [])]
    wrong = any(step.get("state") in ("failed", "out of memory", "out of time") for step in steps)
    return wrong or any(row.get("losses_finite") is False for row in found.get("trials", []))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="no trial is begun when they are over")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "gpu.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gpu.md")
    parser.add_argument("--quick", action="store_true", help="the tiny configs alone")
    asked = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        print(
            f"benchmarks.gpu.proof needs a CUDA device, and torch {torch.__version__} finds none here",
            file=sys.stderr,
        )
        return 2
    command = f"python -m benchmarks.gpu.proof --minutes {asked.minutes:g}{' --quick' if asked.quick else ''}"
    found: dict[str, Any] = {}
    for found in proof(asked.minutes, command, quick=asked.quick):
        replace(asked.json, json.dumps(found, indent=1) + "\n")
        replace(asked.page, page(found))
    print(f"written: {os.path.relpath(asked.json)} and {os.path.relpath(asked.page)}", file=sys.stderr)
    return int(failed(found))


if __name__ == "__main__":
    sys.exit(main())
