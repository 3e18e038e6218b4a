"""Options of checkpoints."""

from __future__ import annotations

from pydantic import Field

from megatron_lite.options import Options, PositiveCount


class CheckpointOptions(Options):
    """When a checkpoint is written and how long it is kept; the last step always writes one."""

    every_steps: PositiveCount = Field(1000, description="updates between checkpoints")
    asynchronous: bool = Field(
        True, description="write in the background; training waits for the copy out of the model alone"
    )
    keep_last: PositiveCount = Field(2, description="newest checkpoints kept")
    keep_every: PositiveCount | None = Field(
        None, description="checkpoints whose step is a multiple of this are kept for ever"
    )
    keep_best: PositiveCount | None = Field(
        None, description="so many of the lowest validation loss are kept; null: it does not count"
    )
