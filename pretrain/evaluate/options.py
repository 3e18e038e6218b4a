"""Options of evaluation on held-out text."""

from __future__ import annotations

from pydantic import Field

from megatron_lite.options import Options, PositiveCount


class EvaluateOptions(Options):
    """Validation loss while training; the last step always evaluates."""

    every_steps: PositiveCount | None = Field(
        None, description="updates between evaluations; null: only at the end"
    )
    sequences: PositiveCount = Field(64, description="held-out sequences per source, the same every time")
