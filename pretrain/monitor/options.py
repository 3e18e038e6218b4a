"""Options of trackers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import Options, PositiveCount


class TrackerOptions(Options):
    """Where numbers are sent beside metrics.jsonl, and how often the console speaks."""

    console_every_steps: PositiveCount = Field(
        10, description="updates between console lines when not on a terminal"
    )
    tensorboard: bool = Field(True, description="event files in the run folder")
    statistics_every: PositiveCount | None = Field(
        20, description="updates between lines of statistics.jsonl, sizes by layer; null: never"
    )
    profile_steps: tuple[PositiveCount, ...] = Field(
        (), description="updates to profile: a trace and a table for every rank in the folder profile"
    )
    memory_snapshot_steps: tuple[PositiveCount, ...] = Field(
        (), description="updates whose memory is recorded: on GPUs every allocation, on CPUs by operator"
    )
    noise_scale_every: PositiveCount | None = Field(
        None, description="updates between measurements of the gradient noise scale; null: never"
    )
    report: bool = Field(True, description="a page, a picture, and samples of text at every evaluation")
    wandb: Literal["off", "auto", "offline"] = Field(
        "off", description="off; auto: online with a key, else offline; offline: sync later with `wandb sync`"
    )
    wandb_project: str = Field("pretrain", description="project on wandb")
