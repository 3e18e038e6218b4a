"""`pretrain laws fit-curve`: a law of the loss from some runs' curves."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table


class LawName(StrEnum):
    """The laws that there are."""

    mpl = "mpl"
    annealing = "annealing"


Curves = Annotated[
    list[Path],
    typer.Argument(
        metavar="CURVES...",
        help="CSV files with step, lr, loss, or runs' metrics.jsonl: one model and batch, several schedules.",
        show_default=False,
    ),
]
LawOption = Annotated[
    LawName, typer.Option("--law", help="mpl: the Multi-Power Law. annealing: the law of Tissue et al.")
]
FromStep = Annotated[
    int | None,
    typer.Option(
        "--from-step",
        min=0,
        metavar="N",
        help="Use losses from this step on; not given: from the end of each curve's warm-up.",
    ),
]
WarmupSteps = Annotated[
    int | None,
    typer.Option(
        "--warmup-steps",
        min=0,
        metavar="N",
        help="Steps of warm-up before a file's first line; not given: up to that line.",
    ),
]
Memory = Annotated[
    float,
    typer.Option(
        "--memory",
        min=0,
        max=0.999999,
        help="What the annealing law keeps of a fall from one step to the next.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the law there, for predict.")]


def fit_curve(
    curves: Curves,
    law: LawOption = LawName.mpl,
    from_step: FromStep = None,
    warmup_steps: WarmupSteps = None,
    memory: Memory = 0.999,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Fit a law to loss curves: constants, how well it fits, and how well it predicts a curve left out.

    The law then predicts the loss of any schedule of this model and batch (`pretrain laws predict`).
    """
    from pretrain.laws import law_file
    from pretrain.laws.curve_files import read_curves
    from pretrain.laws.fit_curves import fit_law

    read, batch_tokens = read_curves(curves, from_step=from_step, warmup_steps=warmup_steps)
    fitted = fit_law(read, law.value, memory=memory, batch_tokens=batch_tokens)
    if out is not None:
        law_file.write(out, fitted)
    if as_json:
        print_json(law_file.to_json(fitted))
    else:
        from pretrain.laws.curve_view import law_tables

        print_table(law_tables(fitted))
    for note in fitted.notes:
        typer.echo(f"pretrain: {note}", err=True)
