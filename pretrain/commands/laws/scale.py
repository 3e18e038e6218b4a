"""`pretrain laws scale`: the loss as a function of size and tokens, and compute-optimal sizes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json


class Minima(StrEnum):
    """How the lowest point of a budget's curve is found."""

    akima = "akima"
    parabola = "parabola"


Runs = Annotated[
    Path,
    typer.Argument(
        metavar="RUNS.csv",
        help="Columns N (or params), D (or tokens) and loss; with --isoflop also flops.",
    ),
]
IsoFlop = Annotated[bool, typer.Option("--isoflop", help="The best size at every budget, and its growth.")]
By = Annotated[str, typer.Option(metavar="COLUMN,...", help="A law for every value of these columns.")]
LossColumn = Annotated[str, typer.Option(metavar="COLUMN", help="The column of losses, in nats.")]
Refits = Annotated[int, typer.Option(min=0, help="Refits on redrawn losses, for the intervals.")]
At = Annotated[list[str] | None, typer.Option(metavar="N:D", help="Also the loss at this size: 7B:2T.")]
Interpolate = Annotated[Minima, typer.Option(help="isoFLOP: how a budget's lowest point is found.")]


def scale(
    runs: Runs,
    isoflop: IsoFlop = False,
    by: By = "",
    loss_column: LossColumn = "loss",
    refits: Refits = 100,
    at: At = None,
    interpolate: Interpolate = Minima.akima,
    as_json: AsJson = False,
) -> None:
    """Fit L = E + A / N^alpha + B / D^beta, or the compute-optimal size.

    Intervals of L(N, D) are from refits on redrawn losses. They hold if the
    form does: a prediction far outside of the runs can miss by more.
    """
    from pretrain.laws import scale_report
    from pretrain.laws.counts import pair
    from pretrain.laws.table import read

    table = read(runs)
    columns = [name for name in by.split(",") if name]
    places = [pair("--at", text) for text in at or []]
    if isoflop:
        found = scale_report.isoflop_groups(table, columns, loss_column, interpolate.value)
    else:
        found = scale_report.scale_groups(table, columns, loss_column, refits)
    if as_json:
        print_json(scale_report.to_json(found, places))
        return
    for line in scale_report.words(found, places):
        typer.echo(line)
