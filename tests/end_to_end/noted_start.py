"""The start script in a process that notes every sequence it trains on, in the order of its micro-steps.

    noted_start.py --config ... as launch/pretrain.py

A line an update goes to NOTES/RANK.jsonl: the step, and for every micro-step the hashes of its rows.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)

from pretrain.loop.run import Run  # noqa: E402

_micro_batches = Run.micro_batches


def noted(run: Run) -> list[Any]:
    """This rank's micro-batches, once they are written down."""
    batches = _micro_batches(run)
    length = run.next.sequence_length
    hashes = [
        [
            sha256(tokens.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()
            for tokens, targets in zip(
                batch.tokens_T.split(length), batch.targets_T.split(length), strict=True
            )
        ]
        for batch in batches
    ]
    with (Path(os.environ["NOTES"]) / f"{run.ranks.rank}.jsonl").open("a") as file:
        file.write(json.dumps({"step": run.next.step, "micro_steps": hashes}) + "\n")
    return batches


if __name__ == "__main__":
    Run.micro_batches = noted  # type: ignore[method-assign]
    runpy.run_path(str(ROOT / "launch" / "pretrain.py"), run_name="__main__")
