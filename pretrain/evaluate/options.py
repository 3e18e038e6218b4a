"""Options of evaluation on held-out text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from megatron_lite.options import Options, PositiveCount
from pretrain.data.sources.options import AnyText, SourceName

TextSet = Annotated[AnyText, Field(discriminator="kind")]


class EvaluateOptions(Options):
    """Validation loss while training; the last step always evaluates."""

    every_steps: PositiveCount | None = Field(
        None, description="updates between evaluations; null: only at the end"
    )
    sequences: PositiveCount = Field(64, description="held-out sequences per source, the same every time")
    sets: dict[SourceName, TextSet] = Field(
        {},
        description="name -> text that is never trained on, given as a source is; evaluated beside what "
        "the sources hold out, from its beginning",
    )
