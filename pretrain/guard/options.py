"""Options of what watches over a run."""

from __future__ import annotations

from pydantic import Field

from megatron_lite.options import Options, PositiveReal


class GuardOptions(Options):
    """When a run stops of itself: it finishes the update, saves, and can be continued."""

    stop_file: str = Field(
        "STOP", min_length=1, description="the run stops when this file appears in the run folder"
    )
    max_seconds: PositiveReal | None = Field(
        None, description="stop after this much time, preparation included; null: no limit"
    )
