"""`pretrain lr`: the learning rate of a run at any number of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="TOKENS",
        help="Only the values after so many tokens: 100B, 1e9; several with commas, or given again.",
    ),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        "--compare",
        metavar="NAME[:KEY=VALUE]...",
        help="Also the same run under other schedules, such as wsd,cosine:lr_min=0.001. What they share with "
        "the config's own (warm-up, lr_max, lr_min and, unless they end by themselves, the decay) is taken "
        "from there: from a power schedule its cap as their lr_max. The rest is their defaults, or set by "
        ":KEY=VALUE. Several with commas, or given again.",
    ),
]
WithGroups = Annotated[
    bool, typer.Option("--groups", help="Also the learning rate of every parameter group (µP).")
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw it, on linear and log axes, as .png, .svg or .pdf."),
]


def lr(
    config: ConfigName,
    overrides: Overrides = None,
    at: At = None,
    compare: Compare = None,
    groups: WithGroups = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's learning rate at given token counts, or as 20 points of the run and a sketch.

    It is the rate of the update that is made when so many tokens are trained,
    of the parameter group with ratio 1 (--groups: of all). Beyond the end of
    the run it is what the schedule says.
    """
    from pretrain.config.load import load
    from pretrain.rates.notes import outside, rising
    from pretrain.rates.points import parse_counts
    from pretrain.rates.rates import rates_of

    counts = parse_counts(at or [])
    if plot is not None:
        from pretrain.rates.plot import check, draw

        check(plot)
    rates = rates_of(load(config, overrides or []), with_groups=groups, compare=compare or [])
    points = tuple(map(rates.at, counts))
    if plot is not None:
        draw(plot, rates, points)
    if as_json:
        print_json([point.to_json() for point in points or rates.evenly()])
    else:
        from pretrain.rates.view import overview, values

        print_table(values(rates, points) if points else overview(rates))
    for note in rising(rates.rises):
        typer.echo(f"pretrain: {note}" if as_json else f"\n{note[0].upper()}{note[1:]}.", err=as_json)
    for note in outside(rates, counts):
        typer.echo(f"pretrain: {note}", err=True)
