"""`pretrain import`: a folder of transformers as a checkpoint, to begin runs from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="HF_FOLDER",
        help="A Granite or GraniteMoe model: config.json and safetensors.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="The checkpoint to write; new or empty.", show_default=False)
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="FIELD",
        help="A field of config.json that is unknown here and has no effect on what the model computes, "
        "or attention_dropout; may be given again.",
        show_default=False,
    ),
]


def import_(folder: Folder, out: Out, ignore: Ignore = None, as_json: AsJson = False) -> None:
    """Write a checkpoint with the weights of a Granite or GraniteMoe model in fp32.

    Shows the `model` section that reproduces it. A run begins from it with `run.init_from=OUT`.

    What cannot be reproduced is refused by the name of its field or tensor.
    """
    from pretrain.config.document import write
    from pretrain.exchange.from_transformers import import_model
    from pretrain.exchange.keys import model_section
    from pretrain.monitor.console import Console

    made = import_model(folder, out, progress=Console(), ignored=ignore or [])
    if as_json:
        print_json(made.to_json() | {"yaml": write({"model": model_section(made.shape)})})
        return
    counts = made.counts
    tokenizer = ", ".join(made.tokenizer_files) or "none"
    typer.echo(
        f"{out}: {counts.total:,} parameters, {counts.active:,} active; tokenizer files: {tokenizer}\n"
    )
    typer.echo(write({"model": model_section(made.shape)}).rstrip())
