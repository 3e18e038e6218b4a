"""Runs side by side: each by a name of its own, its losses over tokens, FLOPs or time, its last numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megatron_lite.model.parameters import count, flops_per_token
from megatron_lite.model.shape import ModelShape
from pretrain.config.derive import model_shape
from pretrain.errors import UserError
from pretrain.report.against import Against
from pretrain.report.run import RunRecord
from pretrain.report.stages import config_of, stage_ends
from pretrain.report.thin import running_mean, smoothing_width


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run among others. The arrays are by update."""

    name: str
    run: RunRecord
    x: np.ndarray  # what was spent behind each update

    @property
    def loss(self) -> np.ndarray:
        """The running mean of the training loss, without what was left out; as it is of few updates."""
        loss = np.where(self.run.train["skipped"] == 1, np.nan, self.run.train["loss"])
        return running_mean(loss, smoothing_width(len(loss)))

    def at(self, steps: np.ndarray) -> np.ndarray:
        """What was spent behind these updates."""
        return np.interp(steps, self.run.train["step"], self.x, left=np.nan)


def compared(runs: Sequence[RunRecord], against: Against) -> list[Compared]:
    """Raises UserError where a run does not say what it spent."""
    names = distinct([run.folder for run in runs])
    return [
        Compared(name=name, run=run, x=spent(run, against)) for name, run in zip(names, runs, strict=True)
    ]


def distinct(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of the folders above as tell them apart."""
    whole = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, whole), default=1) + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"--compare: {folders[0]} is named twice.")


def spent(run: RunRecord, against: Against) -> np.ndarray:
    """Tokens, FLOPs or seconds of updates, from the beginning to behind each update."""
    if against is Against.TOKENS:
        return run.train["tokens"]
    if against is Against.SECONDS:
        if not run.timing.has("seconds"):
            raise UserError(f"--against seconds: {run.folder} has no timing.jsonl.")
        seconds = np.cumsum(np.nan_to_num(run.timing["seconds"]))
        return np.interp(run.train["step"], run.timing["step"], seconds, left=np.nan)
    return _flops(run)


def shape_of(run: RunRecord) -> ModelShape | None:
    """The model as the config has it; None where that is not one of this version."""
    config = config_of(run)
    try:
        return model_shape(config) if config else None
    except (UserError, ValueError):
        return None


def numbers_of(run: RunRecord) -> dict[str, Any]:
    """What a run came to, for a row of a table: values, None where they are not known."""
    shape = shape_of(run)
    counts = run.summary.parameters if run.summary else (count(shape) if shape else None)
    last = {str(line.get("source")): line for line in run.validation}
    seconds = run.timing["seconds"]
    return {
        "parameters": counts.total if counts else None,
        "active_parameters": counts.active if counts else None,
        "tokens": int(run.train["tokens"][-1]) if len(run.train) else None,
        "steps": int(run.train["step"][-1]) if len(run.train) else None,
        "training_loss": _last(run),
        "validation": {
            source: {key: line.get(key) for key in ("loss", "bits_per_byte", "tokens")}
            for source, line in last.items()
        },
        "seconds": float(np.nansum(seconds)) if len(seconds) else None,
    }


def _last(run: RunRecord) -> float | None:
    """The last value of the running mean."""
    loss = Compared(name="", run=run, x=run.train["tokens"]).loss
    known = loss[np.isfinite(loss)]
    return float(known[-1]) if len(known) else None


def _flops(run: RunRecord) -> np.ndarray:
    """By the model's formula and the lengths of sequence of its stages; what lies before it at the first."""
    shape = shape_of(run)
    if shape is None:
        raise UserError(
            f"--against flops: {run.folder} has no config.yaml of this version, which says the model."
        )
    lengths = _lengths(run)
    ends = stage_ends(run)
    if ends is None and len(set(lengths)) > 1:
        raise UserError(
            f"--against flops: {run.folder} is a branch with sequences of several lengths, and neither a "
            "checkpoint of its own nor the one that it branched from says where its stages begin."
        )
    before = run.train["tokens"] - run.train["batch_tokens"]
    of_stage = np.array([flops_per_token(shape, length) for length in lengths], dtype=np.float64)
    stage = np.searchsorted(ends, before, side="right") if ends is not None else np.zeros(len(before), int)
    each = of_stage[np.minimum(stage, len(lengths) - 1)]
    earlier = run.first_tokens * (of_stage[0] if len(of_stage) else 0.0)
    return earlier + np.cumsum(run.train["batch_tokens"] * each)


def _lengths(run: RunRecord) -> list[int]:
    """The lengths of sequence of the config's stages."""
    stages: Sequence[Mapping[str, Any]] = run.config["stages"]
    usual = run.config["batch"]["sequence_length"]
    return [stage.get("sequence_length") or usual for stage in stages]
