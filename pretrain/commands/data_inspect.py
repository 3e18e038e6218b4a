"""`pretrain data inspect`: what shards hold, a document as text, the exact sequence that a run trains on."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pretrain.commands.common import AsJson, print_json, print_table
from pretrain.errors import UserError

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER|SECTION.KEY=VALUE",
        help="A folder of shards, or the prefix of a pair of .bin and .idx. With --config, overrides.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="NAME_OR_PATH", help="The run whose --sequence is shown."),
]
DocumentNumber = Annotated[
    int | None, typer.Option("--document", metavar="N", help="This document as text, counted from 0.")
]
SequenceNumber = Annotated[
    int | None,
    typer.Option(
        "--sequence",
        metavar="N",
        help="This training sequence of the run, counted from 0 over all its stages.",
    ),
]
SideName = Annotated[
    Literal["train", "validation"], typer.Option("--side", help="The side that --document counts.")
]
TokenizerFolder = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FOLDER",
        help="The tokenizer of the shards, where it is not found beside them.",
    ),
]


def data_inspect(
    words: Words = None,
    config: Config = None,
    document: DocumentNumber = None,
    sequence: SequenceNumber = None,
    side: SideName = "train",
    tokenizer: TokenizerFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show statistics of shards, one document, or the exact training sequence N of a run.

    A sequence is shown with its stage, source, epoch and the documents in it; --json adds its tokens.
    """
    if config is not None:
        if sequence is None or document is not None:
            raise UserError("--config: shows one training sequence; give --sequence N.")
        _sequence(config, words or [], sequence, as_json)
        return
    if sequence is not None:
        raise UserError("--sequence: a sequence is one of a run; give its --config.")
    if len(words or []) != 1:
        raise UserError("name one folder of shards, or a run with --config NAME --sequence N.")
    from pretrain.data.inspect_shards import open_shards

    shards = open_shards((words or [])[0], tokenizer)
    if document is None and as_json:
        print_json(shards.to_json())
    elif document is None:
        from pretrain.data.inspect_view import overview

        print_table(overview(shards))
    else:
        tokens = shards.document(side, document)
        if as_json:
            value = {
                "document": document,
                "side": side,
                "tokens": tokens.tolist(),
                "text": shards.text(tokens),
            }
            print_json(value)
        else:
            typer.echo(f"pretrain: {side} document {document:,}, {len(tokens):,} tokens", err=True)
            typer.echo(shards.text(tokens))


def _sequence(config: str, overrides: list[str], number: int, as_json: bool) -> None:
    from pretrain.config.load import load
    from pretrain.data.inspect_sequence import show_sequence

    shown = show_sequence(load(config, overrides), number)
    if as_json:
        print_json(shown.to_json())
    else:
        from pretrain.data.inspect_view import marked

        typer.echo(marked(shown))
