"""Options of what watches over a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from megatron_lite.options import Count, Options, PositiveReal
from pretrain.guard.health import HealthOptions


class SpikeOptions(Options):
    """Which updates are left out, and when the run goes back to a checkpoint instead."""

    window: Annotated[Count, Field(ge=8)] = Field(
        128, description="accepted updates that loss and gradient norm are compared with"
    )
    loss_sigmas: PositiveReal = Field(
        6.0, description="an update whose loss is more standard deviations above their mean is left out"
    )
    norm_sigmas: PositiveReal = Field(8.0, description="the same for the logarithm of the gradient norm")
    max_skips: Count = Field(
        8, description="updates left out among the last `window`; with one more the run rewinds"
    )
    rewind_skip: Count = Field(
        100, description="batches that are left out behind the one that made the run rewind"
    )
    max_rewinds: Count = Field(8, description="rewinds of the whole run; instead of one more it fails")


class GuardOptions(HealthOptions):
    """When a run stops of itself (it finishes the update, saves, and can be continued), skips and rewinds."""

    stop_file: str = Field(
        "STOP", min_length=1, description="the run stops when this file appears in the run folder"
    )
    max_seconds: PositiveReal | None = Field(
        None,
        description="stop in this much time, preparation included, early enough for one more update and a "
        "save as long as the longest of late; at least one update is made; null: no limit",
    )
    spike: SpikeOptions | None = Field(
        SpikeOptions(), description="what is done about spikes; null: nothing, and a NaN ends the run"
    )
