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
    wandb: Literal["off", "auto", "offline"] = Field(
        "off", description="off; auto: online with a key, else offline; offline: sync later with `wandb sync`"
    )
    wandb_project: str = Field("pretrain", description="project on wandb")
