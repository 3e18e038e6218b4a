"""The `pretrain` command: exit code 0 on success, 2 on a user's mistake, 1 on a failure of ours.

A new command is a function in `pretrain/commands/` and a line here; a group of commands is a `typer.Typer`
added with `app.add_typer`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from pretrain.commands import (
    coord_check,
    data_build,
    data_inspect,
    data_verify,
    export,
    import_,
    lr,
    plan,
    tokenizer,
)
from pretrain.commands.laws import advise, batch, fit_curve, fit_lr, optimise, predict, scale
from pretrain.errors import UserError

app = typer.Typer(
    name="pretrain",
    help="Plan, inspect and use pretraining runs. A run itself starts with launch/pretrain.py.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(plan.plan)
app.command()(lr.lr)
app.command("coord-check")(coord_check.coord_check)
app.command()(export.export)
app.command("import")(import_.import_)
data = typer.Typer(help="Build, look at and check token shards.", no_args_is_help=True)
data.command("build")(data_build.build)
data.command("inspect")(data_inspect.data_inspect)
data.command("verify")(data_verify.data_verify)
app.add_typer(data, name="data")
tokenizers = typer.Typer(help="Train a tokenizer, and look at one.", no_args_is_help=True)
tokenizers.command()(tokenizer.train)
tokenizers.command()(tokenizer.inspect)
app.add_typer(tokenizers, name="tokenizer")
laws = typer.Typer(help="Laws of learning rates, loss curves, batches and scale.", no_args_is_help=True)
laws.command("fit-lr")(fit_lr.fit_lr)
laws.command()(advise.advise)
laws.command()(batch.batch)
laws.command()(scale.scale)
laws.command("fit-curve")(fit_curve.fit_curve)
laws.command()(predict.predict)
laws.command()(optimise.optimise)
app.add_typer(laws, name="laws")


@app.callback()
def _always_a_group() -> None:
    """Keeps the name of a command needed however few there are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console command; leaves through SystemExit."""
    try:
        app(None if arguments is None else list(arguments), prog_name="pretrain")
    except UserError as error:
        typer.echo(f"pretrain: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
