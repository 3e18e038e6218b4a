"""How long a trial takes: as long as finished ones of its kind, or what its operations suggest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from benchmarks.lr_transfer.train import Outcome
from benchmarks.lr_transfer.trial import Trial
from megatron_lite.model.parameters import flops_per_token

# measured: operations a second, and seconds an update whatever the width
SPEED = {"cpu": 60e9, "cuda": 10e12}
OVERHEAD_SECONDS = {
    ("cpu", "dense"): 0.04,
    ("cpu", "moe"): 0.06,
    ("cuda", "dense"): 0.01,
    ("cuda", "moe"): 0.03,
}


def seconds(trial: Trial, device: str) -> float:
    """A guess for a trial of which there is no like."""
    recipe = trial.recipe
    tokens = recipe.updates * recipe.sequences * recipe.sequence_length
    work = flops_per_token(trial.shape(), recipe.sequence_length) * tokens / SPEED[device]
    return work + recipe.updates * OVERHEAD_SECONDS[device, trial.architecture]


def total_seconds(todo: list[Trial], known: Mapping[Trial, Outcome], device: str) -> float:
    """Seconds of one process for all of these."""
    like: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for trial, outcome in known.items():
        if (outcome.device == "cpu") == (device == "cpu"):
            like[trial.recipe, trial.architecture, trial.width].append(outcome.seconds)
    took = [like.get((trial.recipe, trial.architecture, trial.width)) for trial in todo]
    return sum(
        float(np.mean(measured)) if measured else seconds(trial, device)
        for trial, measured in zip(todo, took, strict=True)
    )
