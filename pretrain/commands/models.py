"""Arguments of the commands that read a model: where it is, in which type, with which tokenizer, on what."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def expanded(path: Path | None) -> Path | None:
    """With a `~` that the shell left standing, as it does in quotes; a callback of options."""
    return None if path is None else Path(os.path.expanduser(path))


ModelSource = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_MODEL",
        help="A run folder (its newest checkpoint), a checkpoint, what `pretrain import` wrote, or a Granite "
        "folder of transformers.",
        show_default=False,
        callback=expanded,
    ),
]


class PrecisionName(StrEnum):
    """The types that weights are held and computed in."""

    BF16 = "bf16"
    FP32 = "fp32"


PrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(
        "--precision",
        help="Absent: the run's own; of other weights bf16 on a GPU, fp32 elsewhere.",
        show_default=False,
    ),
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer",
        metavar="FOLDER",
        help="Folder of the tokenizer, where it is not found beside the model or below data.root.",
        show_default=False,
        callback=expanded,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:N; absent: a GPU if any.", show_default=False
    ),
]
