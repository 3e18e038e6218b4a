"""The start script of a run whose data is poisoned: launch/pretrain.py, patched from outside.

FAULT=KIND:FIRST:LAST: an update that reads a sequence from FIRST to LAST goes wrong, on the last rank alone.
KIND is `nan` or `spike`, its gradient times NaN or 10^4, or `weight`: it leaves a NaN in a weight.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)
FACTORS = {"nan": math.nan, "spike": 1e4}


def poison(update: Callable[..., Any], kind: str, first: int, last: int) -> Callable[..., Any]:
    """The loop's update, which goes wrong where it reads a sequence from `first` to `last`."""

    def poisoned(run: Any, *arguments: Any, **named: Any) -> Any:
        reads = run.position.sequence + run.position.skipped_sequences
        hit = reads < last and reads + run.next.sequences > first
        if not hit or run.ranks.rank != run.ranks.size - 1:
            return update(run, *arguments, **named)
        if kind == "weight":
            result = update(run, *arguments, **named)
            next(iter(run.engine.master.values())).data.view(-1)[0] = math.nan
            return result
        sound = run.engine.backward
        run.engine.backward = lambda objective: sound(objective * FACTORS[kind])
        try:
            return update(run, *arguments, **named)
        finally:
            run.engine.backward = sound

    return poisoned


def main() -> None:
    """Patch, then start as the start script does."""
    kind, first, last = os.environ["FAULT"].split(":")
    import pretrain.loop.train as training
    from pretrain.main import main as run
    from pretrain.ranks import Ranks

    training._update = poison(training._update, kind, int(first), int(last))
    size = int(os.environ.get("WORLD_SIZE", 1))
    ranks = Ranks(
        rank=int(os.environ.get("RANK", 0)),
        size=size,
        local_rank=int(os.environ.get("LOCAL_RANK", 0)),
        local_size=size,
        address=os.environ.get("MASTER_ADDR", "127.0.0.1"),
        port=int(os.environ.get("MASTER_PORT", 0)),
        served=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )
    code = run(sys.argv[1:], ranks)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
