"""Arguments that commands share, and how a command prints its result."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer

ConfigName = Annotated[
    str,
    typer.Option("--config", "-c", metavar="NAME_OR_PATH", help="A path, or the name of a shipped config."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SECTION.KEY=VALUE",
        help="Overrides, such as model.num_hidden_layers=2 or stages.0.tokens=2M.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    from pretrain.finite import finite

    typer.echo(json.dumps(finite(value), allow_nan=False))


def print_table(table: Any) -> None:
    """Tables for people, on standard output; a letter that it does not know becomes a question mark."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    Console(highlight=False).print(table)
