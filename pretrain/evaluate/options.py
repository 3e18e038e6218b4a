"""Options of evaluation while training: on held-out text, and on benchmark tasks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from megatron_lite.options import Options, PositiveCount
from pretrain.data.sources.options import AnyText, SourceName

TextSet = Annotated[AnyText, Field(discriminator="kind")]


class EvaluateOptions(Options):
    """Validation loss and benchmark tasks while training; the last step always evaluates."""

    every_steps: PositiveCount | None = Field(
        None, description="updates between evaluations; null: only at the end"
    )
    sequences: PositiveCount = Field(64, description="held-out sequences per source, the same every time")
    sets: dict[SourceName, TextSet] = Field(
        {},
        description="name -> text that is never trained on, given as a source is; evaluated beside what "
        "the sources hold out, from its beginning",
    )
    samples: bool | None = Field(
        None,
        description="texts in samples.jsonl with each evaluation; null: unless ZeRO 3 would have to gather "
        "the weights for them",
    )
    tasks: tuple[str, ...] = Field((), description="benchmark tasks by their names in lm-eval-harness")
    tasks_every_steps: PositiveCount | None = Field(
        None, description="updates between evaluations on them; null: only at the end"
    )
    tasks_folder: str | None = Field(None, description="a folder of more tasks: YAML in the harness's form")
    tasks_limit: PositiveCount | None = Field(
        None, description="the first so many documents of each task; null: all of them"
    )

    @model_validator(mode="after")
    def _something_to_ask(self) -> EvaluateOptions:
        given = [
            key
            for key in ("tasks_every_steps", "tasks_folder", "tasks_limit")
            if getattr(self, key) is not None
        ]
        if given and not self.tasks:
            raise ValueError(f"{given[0]} is given, and tasks names none; such as tasks: [piqa, hellaswag]")
        return self
