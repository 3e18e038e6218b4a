"""`pretrain laws batch`: critical batch sizes, from tables of runs or from a loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, print_json
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.laws.noise_run import NoiseRun

Measured = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TABLE.csv]",
        help="Columns batch_tokens and steps (to a target loss; perhaps N, target_loss); or tokens, "
        "batch_tokens and loss (of branches; perhaps step); or critical_batch_tokens and tokens. "
        "batch_sequences may stand for batch_tokens.",
    ),
]
SequenceLength = Annotated[int | None, typer.Option(min=1, help="Tokens of one sequence of batch_sequences.")]
LinearFrom = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENS", help="steps: the batch that overhead counts from (default: the smallest)."
    ),
]
Overhead = Annotated[float, typer.Option(min=0.01, help="steps: updates above linear scaling, as a share.")]
Tolerance = Annotated[
    float, typer.Option(min=0.0, help="branches: loss that a larger batch may lose, in nats.")
]
StartBatch = Annotated[
    str | None,
    typer.Option(metavar="TOKENS", help="branches: also the batch warm-up of a run from this batch."),
]
EndTokens = Annotated[str | None, typer.Option(metavar="TOKENS", help="branches: the length of that run.")]
Loss = Annotated[float | None, typer.Option(help="Also what Kaplan and MiniCPM say at this loss, in nats.")]


FromRun = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Also the gradient noise scale that a run folder measured (trackers.noise_scale_every).",
    ),
]


def batch(
    table: Measured = None,
    sequence_length: SequenceLength = None,
    linear_from: LinearFrom = None,
    overhead: Overhead = 0.2,
    tolerance: Tolerance = 0.01,
    start_batch: StartBatch = None,
    end_tokens: EndTokens = None,
    loss: Loss = None,
    from_run: FromRun = None,
    as_json: AsJson = False,
) -> None:
    """Measure a critical batch size, each definition by its name, in tokens.

    From steps to a target loss over batches (Zhang et al., McCandlish et al.),
    from the losses of short branches (Merrill et al.), or as a power law of
    tokens; with --loss by the laws of Kaplan and MiniCPM; with --from-run the
    gradient noise scale tr(Sigma) / |G|^2 along a run.
    """
    from pretrain.laws import published
    from pretrain.laws.batch_report import report
    from pretrain.laws.batch_view import to_json, words
    from pretrain.laws.counts import count_or_none
    from pretrain.laws.table import read

    if table is None and loss is None and from_run is None:
        raise UserError("nothing to go by: give a table, or --loss, or --from-run")
    if (start_batch is None) != (end_tokens is None):
        raise UserError("--start-batch and --end-tokens go together: one of them is missing")
    if loss is not None and not 0 < loss < 25:
        raise UserError(f"--loss {loss:g}: should be a loss in nats, above 0 and below 25")
    by_loss = {}
    if loss is not None:
        by_loss = {"kaplan": published.kaplan_critical_batch(loss), "minicpm": published.minicpm_batch(loss)}
    noise = None if from_run is None else _noise(from_run)
    found = None
    if table is not None:
        found = report(
            read(table),
            sequence=sequence_length,
            base_batch=count_or_none("--linear-from", linear_from),
            share=overhead,
            tolerance=tolerance,
            start_batch=count_or_none("--start-batch", start_batch),
            end_tokens=count_or_none("--end-tokens", end_tokens),
        )
    if as_json:
        print_json(to_json(found, loss, by_loss, noise))
        return
    for line in words(found, loss, by_loss, noise):
        typer.echo(line)


def _noise(run: Path) -> NoiseRun:
    """What the run's record holds of the noise scale."""
    from pretrain.laws.noise_run import noise_run
    from pretrain.monitor.record import METRICS, read

    if not run.is_dir():
        raise UserError(f"--from-run: {run}: no such folder")
    lines = [line for line in read(run / METRICS) if line.get("grad_sq") is not None]
    tokens, squares, traces = (
        [line[name] for line in lines] for name in ("tokens", "grad_sq", "noise_trace")
    )
    try:
        return noise_run(tokens, squares, traces)
    except UserError as error:
        raise UserError(f"{run / METRICS}: {error}") from None
