"""A rank of `pretrain evaluate` to which something happens that does not happen to the others.

python ranks_worker.py diverged 0,1 evaluate ...    these ranks read weights that are not finite
python ranks_worker.py behind 1 evaluate ...        these ranks do not see the newest checkpoint yet
python ranks_worker.py broken 1 evaluate ...        these ranks meet a bug in scoring
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from pretrain.cli import main
from pretrain.evaluate import opened
from pretrain.evaluate.harness import session, team


def diverged(source: Path, **options: Any) -> opened.Opened:
    """A model as `open_model` gives it, and NaN in it."""
    found = opened.open_model(source, **options)
    with torch.no_grad():
        found.model.norm.weight.fill_(torch.nan)
    return found


def broken(*_: Any) -> None:
    """A bug, as one in a kernel that only this rank's device has."""
    raise RuntimeError("no kernel for this device")


if __name__ == "__main__":
    happening, ranks, *arguments = sys.argv[1:]
    if os.environ["RANK"] in ranks.split(","):
        if happening == "diverged":
            session.open_model = diverged  # type: ignore[assignment]
        elif happening == "broken":
            team.scores = broken  # type: ignore[assignment]
        else:
            seen = opened.checkpoints
            opened.checkpoints = lambda root: seen(root)[:-1]
    main(arguments)
