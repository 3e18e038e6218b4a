"""`pretrain data verify`: are shards what was written, from end to end?"""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json
from pretrain.errors import UserError

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER|SECTION.KEY=VALUE",
        help="A folder of shards, one with such folders below it, or the prefix of a pair of .bin and .idx; "
        "several are verified one after the other. With --config, overrides.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="NAME_OR_PATH", help="All that this config reads instead."),
]
TokenizerFolder = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FOLDER",
        help="The tokenizer of the shards, where it is not found beside them.",
    ),
]


def data_verify(
    words: Words = None,
    config: Config = None,
    tokenizer: TokenizerFolder = None,
    as_json: AsJson = False,
) -> None:
    """Read shards from end to end: hashes, ranges, ids below the vocabulary, end tokens.

    Every problem is listed. Exit code 0: there is none; 1: there are some; 2: there is nothing to verify.
    """
    from pretrain.data.verify_all import verify_config, verify_path
    from pretrain.monitor.console import Console

    if config is not None:
        from pretrain.config.load import load

        if tokenizer is not None:
            raise UserError("--tokenizer: with --config it is the config's.")
        verified = verify_config(load(config, words or []).data, Console())
    elif words:
        verified = [one for path in words for one in verify_path(path, tokenizer, Console())]
    else:
        raise UserError("name a folder of shards, or a config with --config.")
    if as_json:
        print_json([one.to_json() for one in verified])
    for one in verified:
        for note in one.notes:
            typer.echo(f"pretrain: {one.path}: {note}", err=True)
        for problem in one.problems:
            typer.echo(f"pretrain: {problem}" if as_json else problem, err=as_json)
        if not one.problems and not as_json:
            typer.echo(f"{one.path}: {one.documents:,} documents, {one.tokens:,} tokens, no problem")
    if any(one.problems for one in verified):
        raise typer.Exit(1)
