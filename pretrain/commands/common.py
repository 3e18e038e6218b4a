"""Arguments that commands share, and how a command prints its result."""

from __future__ import annotations

import json
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
    typer.echo(json.dumps(value))


def print_table(table: Any) -> None:
    """Tables for people, on standard output."""
    from rich.console import Console

    Console(highlight=False).print(table)
