"""`pretrain laws figures`: the figures of a sweep as files and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json
from pretrain.commands.laws.fit_lr import Repetitions, Results

Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="Folder for the figures (svg, pdf, png) and figures.html; it is made."
    ),
]


def figures(results: Results, out: Out, repetitions: Repetitions = 1000, as_json: AsJson = False) -> None:
    """Draw the figures of Power Scheduler and Time Transfer from the results of a sweep.

    Each as svg, pdf and png, and all on one page, figures.html, with what they
    say in numbers. What the results do not hold is left out, with the reason.
    Columns amplitude and exponent (or schedule.amplitude, schedule.exponent)
    make a row a run of the power schedule's constants.
    """
    from pretrain.laws.figures.draw import write
    from pretrain.laws.figures.study import read_study
    from pretrain.laws.lr_view import to_json
    from pretrain.laws.plain import plain

    study = read_study(results, repetitions)
    written = write(study, out)
    for lack in written.left_out:
        typer.echo(f"pretrain: left out {lack['title']}: {lack['why']}", err=True)
    if as_json:
        print_json({**plain(written), "fit": to_json(study.fit), "sensitivity": plain(study.sensitivity)})
        return
    for one in written.figures:
        typer.echo(f"{one['name']}  {one['says']}")
    typer.echo(f"{len(written.figures)} figures and {out / written.page}")
