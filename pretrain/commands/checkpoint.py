"""`pretrain checkpoint`: what a checkpoint holds, and whether it is what was saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table

One = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="A checkpoint; of a run folder its newest is meant.",
        show_default=False,
    ),
]
Several = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...",
        help="Checkpoints; of a run folder all of its checkpoints are meant.",
        show_default=False,
    ),
]


def inspect(path: One, as_json: AsJson = False) -> None:
    """Show step, tokens, hashes of config and data, parameters by kind, the guard's memory, how it was saved.

    Reads state.json and the headers of the files; whether their bytes are whole is for `verify` to say.
    """
    from pretrain.checkpoint.find import checkpoint_at
    from pretrain.checkpoint.inspect_view import overview
    from pretrain.checkpoint.inspection import describe

    facts = describe(checkpoint_at(Path(os.path.expanduser(path))))
    if as_json:
        print_json(facts)
    else:
        print_table(overview(facts))


def verify(paths: Several, as_json: AsJson = False) -> None:
    """Compare every file of checkpoints, byte for byte by its hash, with what was saved.

    Every file that is truncated, changed, missing or not the checkpoint's own is listed. Exit code 0: there
    is none; 1: there are some; 2: there is no checkpoint.
    """
    from pretrain.checkpoint.verification import verify_path
    from pretrain.monitor.words import size

    verified = [one for path in paths for one in verify_path(Path(os.path.expanduser(path)))]
    if as_json:
        print_json([one.to_json() for one in verified])
    for one in verified:
        for damage in one.damages:
            typer.echo(f"pretrain: {damage}" if as_json else str(damage), err=as_json)
        if not one.damages and not as_json:
            typer.echo(f"{one.folder}: whole, {size(one.bytes)}")
    if any(one.damages for one in verified):
        raise typer.Exit(1)
