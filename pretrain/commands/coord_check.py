"""`pretrain coord-check`: does the model keep the sizes that µP promises, whatever its width?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

Widths = Annotated[
    str | None,
    typer.Option(metavar="N,N,...", help="hidden_size of each model. [default: four doublings from 64]"),
]
Lr = Annotated[
    float | None,
    typer.Option(help="Of every update. [default: a twentieth of the schedule's largest]"),
]


def coord_check(
    config: ConfigName,
    overrides: Overrides = None,
    widths: Widths = None,
    steps: Annotated[int, typer.Option(min=1, help="Updates.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Of the widest; narrower models get more.")] = 2,
    lr: Lr = None,
    head_dim: Annotated[
        int | None, typer.Option(min=2, help="At every width. [default: the config's]")
    ] = None,
    vocab: Annotated[int, typer.Option(min=2, help="Rows of the embedding at every width.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Sequences.")] = 8,
    sequence: Annotated[int, typer.Option(min=2, help="Tokens in a sequence.")] = 64,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw sizes against width, as PNG.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a few updates at several widths and compare how sizes grow with the width.

    Activations, their changes, each parameter's part in them, and gradients, against the powers of the width
    that µP gives them. Exit code 1 if a slope leaves its band.
    """
    from pretrain.config.load import load
    from pretrain.coord_check.run import Settings, run
    from pretrain.coord_check.view import outcome, tables, to_json

    settings = Settings(
        widths=_widths(widths),
        steps=steps,
        seeds=seeds,
        lr=lr,
        head_dim=head_dim,
        vocab=vocab,
        batch=batch,
        sequence=sequence,
        device=device,
    )
    setting, verdicts = run(load(config, overrides or []), settings)
    if plot is not None:
        from pretrain.coord_check.plot import draw

        draw(plot, setting, verdicts)
    if as_json:
        print_json(to_json(setting, verdicts))
    else:
        print_table(tables(setting, verdicts))
    typer.echo(f"\n{outcome(verdicts)}", err=as_json)
    if any(verdict.left for verdict in verdicts):
        raise typer.Exit(1)


def _widths(text: str | None) -> tuple[int, ...] | None:
    from pretrain.errors import UserError

    if text is None:
        return None
    try:
        widths = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(f"--widths: {text!r} is not a list of whole numbers such as 64,128,256") from error
    if min(widths) < 1:
        raise UserError(f"--widths: {min(widths)} is not a width; widths are 1 or more")
    return widths
