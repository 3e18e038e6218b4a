"""The `pretrain` command: exit code 0 on success, 2 on a user's mistake, 1 on a failure of ours.

A new command is a function in `pretrain/commands/` and a line here; a group of commands is a `typer.Typer`
added with `app.add_typer`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from pretrain.commands import coord_check, export, import_, lr, plan
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
