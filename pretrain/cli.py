"""The `pretrain` command: exit code 0 on success, 2 on a user's mistake, 1 on a failure of ours.

A new command is a function in `pretrain/commands/` and a line here; a group of commands is a `typer.Typer`
added with `app.add_typer`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from pretrain.commands import (
    checkpoint,
    coord_check,
    data_build,
    data_inspect,
    data_verify,
    doctor,
    evaluate,
    export,
    generate,
    import_,
    lr,
    plan,
    report,
    sweep,
    tokenizer,
)
from pretrain.commands.laws import advise, batch, figures, fit_curve, fit_lr, optimise, predict, scale
from pretrain.errors import UserError
from pretrain.files import FULL

app = typer.Typer(
    name="pretrain",
    help="Plan, inspect and use pretraining runs. A run itself starts with launch/pretrain.py.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(plan.plan)
app.command()(doctor.doctor)
app.command()(lr.lr)
app.command()(sweep.sweep)
app.command("coord-check")(coord_check.coord_check)
app.command()(generate.generate)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command("import")(import_.import_)
app.command()(report.report)
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
laws.command()(figures.figures)
app.add_typer(laws, name="laws")
checkpoints = typer.Typer(help="What a checkpoint holds, and whether it is whole.", no_args_is_help=True)
checkpoints.command()(checkpoint.inspect)
checkpoints.command()(checkpoint.verify)
app.add_typer(checkpoints, name="checkpoint")


@app.callback()
def _always_a_group() -> None:
    """Keeps the name of a command needed however few there are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console command; leaves through SystemExit."""
    try:
        with _room():
            app(None if arguments is None else list(arguments), prog_name="pretrain")
    except UserError as error:
        typer.echo(f"pretrain: {error}", err=True)
        sys.exit(2)


@contextmanager
def _room() -> Iterator[None]:
    """A full disk is no fault of ours: it is said in a line, also where standard output goes there."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what is left in the old one cannot be written
        typer.echo(f"pretrain: {error.filename or 'standard output'}: {error.strerror}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
