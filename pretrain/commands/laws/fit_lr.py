"""`pretrain laws fit-lr`: the power law of the learning rate in the results of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table

Results = Annotated[
    Path,
    typer.Argument(
        metavar="RESULTS.csv",
        help="Columns N (without embeddings), D (tokens), batch_tokens, lr (of the group with ratio 1), "
        "loss; perhaps loss_se, seed and status.",
    ),
]
Repetitions = Annotated[
    int, typer.Option(min=100, help="Times that the losses are drawn anew for the intervals.")
]


def fit_lr(results: Results, repetitions: Repetitions = 1000, as_json: AsJson = False) -> None:
    """Find the best learning rate of every size, budget and batch, and the law through them.

    Prints the optima, gamma = lr / beta = a T^b by size and together with 95 %
    intervals, the general law, a verdict, and a schedule section to paste, or
    what is missing for one.
    """
    from pretrain.laws.fit_lr import fit_lr as fit
    from pretrain.laws.lr_view import block, laws_table, optima_table, to_json, words
    from pretrain.laws.results import read_results

    found = fit(read_results(results), repetitions=repetitions)
    if as_json:
        print_json(to_json(found))
        return
    print_table(optima_table(found))
    print_table(laws_table(found))
    for line in words(found):
        typer.echo(line)
    if (section := block(found)) is not None:
        typer.echo(f"\n{section}")
