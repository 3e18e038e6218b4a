"""`pretrain evaluate`: benchmark tasks on a checkpoint or a folder of transformers, or beside a job."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table
from pretrain.commands.models import DeviceOption, ModelSource, PrecisionOption, TokenizerOption, expanded
from pretrain.errors import UserError
from pretrain.evaluate.harness.names import DEFAULT

if TYPE_CHECKING:
    from pretrain.evaluate.harness.session import Session

LAST_WORD_SECONDS = 2.0  # a launcher ends every rank with the first that ends, which should have spoken
PAPERS = ",".join(DEFAULT)

TaskNames = Annotated[
    str, typer.Option("--tasks", metavar="NAME,NAME,...", help="Of lm-eval-harness, or of --tasks-folder.")
]
TasksFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Tasks of your own: YAML in the harness's form.",
        show_default=False,
        callback=expanded,
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="The first N documents of each task: for trials.")
]
NumFewshot = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Examples in each prompt; absent: the task's own.")
]
BatchTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Tokens of a pass; absent: 2048 on a CPU, else 16384.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For results; absent: evaluations/ of the run.",
        show_default=False,
        callback=expanded,
    ),
]
RunCode = Annotated[
    bool,
    typer.Option(
        "--confirm-run-unsafe-code", help="Let humaneval, mbpp and their like execute what the model writes."
    ),
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Evaluate each checkpoint of a run beside it, until it is finished.")
]


def evaluate(
    source: ModelSource,
    tasks: TaskNames = PAPERS,
    tasks_folder: TasksFolder = None,
    limit: Limit = None,
    num_fewshot: NumFewshot = None,
    batch_tokens: BatchTokens = None,
    precision: PrecisionOption = None,
    tokenizer: TokenizerOption = None,
    device: DeviceOption = None,
    out: Out = None,
    run_code: RunCode = False,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on benchmark tasks of lm-eval-harness; also mmlu, gsm8k, humaneval, mbpp, by name.

    Results are kept in evaluations/ of the run, beside those of other tasks. All ranks that torchrun,
    deepspeed or srun start share the work: torchrun --nproc_per_node 8 -m pretrain.cli evaluate ...
    """
    from pretrain.evaluate.harness.session import Session, Settings
    from pretrain.evaluate.harness.tasks import Asked
    from pretrain.evaluate.harness.team import Unfit
    from pretrain.layout import ranks_from
    from pretrain.monitor.console import Console

    ranks = ranks_from(os.environ)
    console = Console(quiet=not ranks.first)
    session = None
    try:
        if watch and out:
            raise UserError("--watch writes to the run folder: leave --out out.")
        session = Session(
            Asked(
                tasks=_names(tasks),
                folder=tasks_folder,
                limit=limit,
                num_fewshot=num_fewshot,
                run_code=run_code,
            ),
            Settings(
                precision=precision.value if precision else None,
                tokenizer=tokenizer,
                device=device,
                batch_tokens=batch_tokens,
                out=out,
            ),
            ranks,
            say=console.say,
            progress=console,
        )
        _show(session, source, watch=watch, as_json=as_json)
    except (UserError, FloatingPointError, Unfit) as error:  # of this rank's, or of another's
        if ranks.first:
            raise error if isinstance(error, UserError) else UserError(f"{source}: {error}.") from None
        time.sleep(LAST_WORD_SECONDS)
        raise typer.Exit(2) from None
    finally:
        if session:
            session.close()


def _show(session: Session, source: Path, *, watch: bool, as_json: bool) -> None:
    from pretrain.evaluate.harness.view import table

    found = session.watch(source) if watch else [session.evaluate(source)]
    shown = [evaluation for evaluation in found if evaluation]
    if not session.ranks.first:
        return
    if as_json:
        values = [evaluation.to_json() for evaluation in shown]
        print_json(values if watch else values[0])
        return
    for evaluation in shown:
        print_table(table(evaluation))


def _names(tasks: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip()))
    if not names:
        raise UserError(f"--tasks: '{tasks}' names no task.")
    return names
