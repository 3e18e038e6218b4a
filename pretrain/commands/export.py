"""`pretrain export`: a checkpoint as a folder of transformers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_CHECKPOINT",
        help="A run folder (its newest checkpoint), a checkpoint, or what `pretrain import` wrote.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="The folder to write; new or empty.", show_default=False)
]


class Dtype(StrEnum):
    """The types that weights are written in."""

    FP32 = "fp32"
    BF16 = "bf16"


DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="fp32: the master weights bit for bit. bf16: rounded, half the size.")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer",
        metavar="FOLDER",
        help="Folder of the run's tokenizer.model, where it is not below data.root any more.",
        show_default=False,
    ),
]
ShardBytes = Annotated[
    str,
    typer.Option(
        "--shard-bytes", metavar="BYTES", help="Largest file of weights, such as 5B (powers of 1000)."
    ),
]


def export(
    source: Source,
    out: Out,
    dtype: DtypeOption = Dtype.FP32,
    tokenizer: TokenizerOption = None,
    shard_bytes: ShardBytes = "5B",
    as_json: AsJson = False,
) -> None:
    """Write a folder that AutoModelForCausalLM and AutoTokenizer load without this package.

    Config, tokenizer, weights in safetensors and a model card. The folder appears whole or not at all.
    """
    from pretrain.exchange.to_transformers import export_model
    from pretrain.monitor.console import Console
    from pretrain.monitor.words import size

    limit = _positive(shard_bytes)
    made = export_model(
        source,
        out,
        progress=Console(),
        dtype=dtype.value,
        tokenizer_folder=tokenizer,
        max_shard_bytes=limit,
    )
    if as_json:
        print_json(made.to_json())
    else:
        files = f"{len(made.weight_files)} file" + ("s" if len(made.weight_files) > 1 else "")
        typer.echo(
            f"{out}: {made.counts.total:,} parameters in {made.dtype}, {size(made.weight_bytes)} in {files}, "
            f"after {made.step:,} updates and {made.tokens:,} tokens"
        )


def _positive(text: str) -> int:
    from megatron_lite.options import parse_count
    from pretrain.errors import UserError

    try:
        count = parse_count(text)
    except ValueError as error:
        raise UserError(f"--shard-bytes: {text!r} {error}") from error
    if not count:
        raise UserError("--shard-bytes: 0 should be at least 1")
    return count
