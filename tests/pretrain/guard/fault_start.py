"""The start script in a process that does something to itself at a chosen moment of a run.

    FAULT="RANK MOMENT DEED" fault_start.py --config ... as launch/pretrain.py

MOMENT is prepare, build, update.N, evaluate.N or save.N (N: the update that is made, or was last). DEED is a
signal that the rank sends to itself, hang, flip (a bit of a weight) or raise. Every rank notes that it is.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[0] = str(ROOT)
RANK, MOMENT, DEED = os.environ["FAULT"].split()


def do(run: Any) -> None:
    if DEED.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, DEED))
        time.sleep(0.2)
    elif DEED == "hang":
        time.sleep(600)
    elif DEED == "flip":
        import torch

        weight = next(iter(run.engine.replicated().values()))
        weight.data.view(torch.int32).view(-1)[7] ^= 1 << 12
    else:
        raise ZeroDivisionError("a fault of ours")


def faulty(works: Callable[..., Any], moment: str) -> Callable[..., Any]:
    """`works`, in which the deed is done first where this is the rank and the moment."""

    def first_the_deed(*arguments: Any, **options: Any) -> Any:
        run = arguments[0] if arguments else None
        step = run.position.step + (moment == "update") if hasattr(run, "position") else None
        here = moment if step is None else f"{moment}.{step}"
        if here == MOMENT and os.environ.get("RANK", "0") == RANK:
            do(run)
            if moment in ("prepare", "build"):
                time.sleep(1)  # long enough for others to be somewhere else
        return works(*arguments, **options)

    return first_the_deed


if __name__ == "__main__":
    from pretrain.loop import job
    from pretrain.loop.job import Job
    from pretrain.loop.run import Run

    job.prepare = faulty(job.prepare, "prepare")
    Job._build = faulty(Job._build, "build")  # type: ignore[method-assign]
    Run.micro_batches = faulty(Run.micro_batches, "update")  # type: ignore[method-assign]
    Run.evaluate = faulty(Run.evaluate, "evaluate")  # type: ignore[method-assign]
    Run.save = faulty(Run.save, "save")  # type: ignore[method-assign]
    runpy.run_path(str(ROOT / "launch" / "pretrain.py"), run_name="__main__")
