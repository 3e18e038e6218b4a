"""`pretrain laws predict`: the loss of a schedule, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table

LawFile = Annotated[Path, typer.Option("--law", metavar="FILE", help="What fit-curve --out wrote.")]
ScheduleText = Annotated[
    str | None,
    typer.Option("--schedule", metavar="YAML", help="As in a config: '{name: wsd, lr_max: 0.01, ...}'."),
]
Tokens = Annotated[str | None, typer.Option("--tokens", metavar="N", help="Length of the run: 1B, 300M.")]
BatchTokens = Annotated[
    str | None,
    typer.Option("--batch-tokens", metavar="N", help="Tokens of an update; not given: the fitted runs'."),
]
Every = Annotated[
    str | None, typer.Option("--every", metavar="TOKENS", help="A line so often; not given: 20 lines.")
]
CurveFile = Annotated[
    Path | None,
    typer.Option("--curve", metavar="FILE", help="In place of a schedule: predict a curve and score it."),
]
WarmupSteps = Annotated[
    int | None,
    typer.Option(
        "--warmup-steps", min=0, metavar="N", help="With --curve: steps of warm-up before its first line."
    ),
]


def predict(
    law: LawFile,
    schedule: ScheduleText = None,
    tokens: Tokens = None,
    batch_tokens: BatchTokens = None,
    every: Every = None,
    curve: CurveFile = None,
    warmup_steps: WarmupSteps = None,
    as_json: AsJson = False,
) -> None:
    """Predict the loss of a schedule at any length, or that of a curve with a score.

    Of the bounds that are printed nine losses in ten should lie between.
    """
    from pretrain.commands.laws.asked import count, forbid, needed, schedule_in
    from pretrain.laws import law_file
    from pretrain.laws.predictions import batch_of, of_curve, of_schedule

    fitted = law_file.read(law)
    if curve is not None:
        forbid("--curve", schedule=schedule, tokens=tokens, every=every, batch_tokens=batch_tokens)
        made = of_curve(fitted, curve, warmup_steps=warmup_steps)
    else:
        forbid("--schedule", warmup_steps=warmup_steps)
        made = of_schedule(
            fitted,
            schedule_in(needed("--schedule (or --curve)", schedule)),
            tokens=count("--tokens", needed("--tokens", tokens)),
            batch_tokens=batch_of(fitted, count("--batch-tokens", batch_tokens) if batch_tokens else None),
            every_tokens=count("--every", every) if every else None,
        )
    if as_json:
        print_json(made.to_json())
    else:
        from pretrain.laws.curve_view import prediction_tables

        print_table(prediction_tables(made))
    for note in made.notes:
        typer.echo(f"pretrain: {note}", err=True)
