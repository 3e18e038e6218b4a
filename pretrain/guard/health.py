"""Options of what watches the ranks: the watchdog, and the comparison of replicas. Loads no torch."""

from __future__ import annotations

from pydantic import Field

from megatron_lite.options import Options, PositiveCount, PositiveReal


class HealthOptions(Options):
    """When a run whose ranks no longer move, or no longer agree, is ended to be started again."""

    watchdog_seconds: PositiveReal | None = Field(
        600,
        description="without progress for this long, the stacks of all ranks are written, the late rank is "
        "named and the job ends with code 75 to be started again; the first update has longer; null: never",
    )
    check_replicas_every: PositiveCount | None = Field(
        None,
        description="updates between comparisons of the weights that all ranks hold (not under ZeRO 3); "
        "where a rank differs the job ends with code 75, to go on from the last checkpoint; null: never",
    )
