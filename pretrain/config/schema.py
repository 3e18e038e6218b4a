"""The whole config: the sum of the options that the parts declare."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from megatron_lite.kernels.options import KernelOptions
from megatron_lite.model.options import ModelOptions
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.options import Options
from megatron_lite.schedules.batch import BatchOptions
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.registry import ScheduleOptions
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.config.combinations import impossible
from pretrain.config.run import RunOptions
from pretrain.data.options import DataOptions, Stage
from pretrain.engine.options import DeepSpeedOptions
from pretrain.evaluate.options import EvaluateOptions
from pretrain.guard.options import GuardOptions
from pretrain.monitor.options import TrackerOptions


class Config(Options):
    """Everything that a run is. Sections with defaults may be left out."""

    schema_version: Literal[1] = Field(1, description="version of these names")
    run: RunOptions
    model: ModelOptions
    mup: MupOptions = MupOptions()
    kernels: KernelOptions = KernelOptions()
    optimizer: AdamWOptions = AdamWOptions()
    schedule: ScheduleOptions = Power()
    batch: BatchOptions
    stages: tuple[Stage, ...] = Field(min_length=1)
    data: DataOptions
    checkpoint: CheckpointOptions = CheckpointOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    guard: GuardOptions = GuardOptions()
    trackers: TrackerOptions = TrackerOptions()
    deepspeed: DeepSpeedOptions = DeepSpeedOptions()

    @model_validator(mode="after")
    def _combinations(self) -> Config:
        problems = list(impossible(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self
