"""`pretrain laws optimise`: the schedule with the least loss that a law predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table

LawFile = Annotated[Path, typer.Option("--law", metavar="FILE", help="What fit-curve --law mpl --out wrote.")]
Steps = Annotated[
    int, typer.Option("--steps", min=2, metavar="N", help="Updates of the run, warm-up included.")
]
Peak = Annotated[float, typer.Option("--peak", metavar="LR", help="The rate that it begins with.")]
WarmupSteps = Annotated[
    int, typer.Option("--warmup-steps", min=0, metavar="N", help="Updates of a linear warm-up from 0.")
]
BatchTokens = Annotated[
    str | None,
    typer.Option("--batch-tokens", metavar="N", help="Tokens of an update; not given: the fitted runs'."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.csv", help="Write it as a table of tokens and lr, for from_file."),
]


def optimise(
    law: LawFile,
    steps: Steps,
    peak: Peak,
    warmup_steps: WarmupSteps = 0,
    batch_tokens: BatchTokens = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Find the rates, never rising after a warm-up, with the least predicted last loss.

    Train it with `schedule: {name: from_file, path: FILE.csv}`.
    """
    from pretrain.commands.laws.asked import count
    from pretrain.laws import law_file, rate_table
    from pretrain.laws.best_schedule import best_schedule
    from pretrain.laws.predictions import batch_of

    fitted = law_file.read(law)
    made = best_schedule(fitted, steps=steps, peak=peak, warmup_steps=warmup_steps)
    if out is not None:
        tokens = count("--batch-tokens", batch_tokens) if batch_tokens else None
        rate_table.write(out, made.found.rates, batch_of(fitted, tokens))
    if as_json:
        print_json(made.to_json())
    else:
        from pretrain.laws.curve_view import comparison_table

        print_table(comparison_table(made.compared))
        typer.echo(f"\n{made.words}")
    for note in made.notes:
        typer.echo(f"pretrain: {note}", err=True)
