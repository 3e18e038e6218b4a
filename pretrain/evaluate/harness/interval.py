"""Benchmark tasks between two updates of a run: asked of the weights of now, on all ranks.

What goes wrong with a task is told, and training goes on; a lost rank, or a request to stop, ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pretrain.errors import UserError
from pretrain.evaluate.harness.ask import ask, settings
from pretrain.evaluate.harness.results import (
    Evaluation,
    Result,
    evaluation_file,
    keep,
    lacking,
    read_evaluation,
)
from pretrain.evaluate.harness.tasks import Asked, Tasks, check_installed, harness_version
from pretrain.evaluate.harness.team import Team
from pretrain.guard.lost import is_lost_peer

if TYPE_CHECKING:
    from pretrain.checkpoint.position import Position
    from pretrain.data.tokenizer import Tokenizer
    from pretrain.engine.base import Engine
    from pretrain.evaluate.options import EvaluateOptions
    from pretrain.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one evaluation."""

    results: Mapping[str, Result]  # on the first rank
    given_up: bool = False  # in order to stop; the same on every rank
    problem: str | None = None  # why a task failed


def open_tasks(options: EvaluateOptions) -> Tasks | None:
    """The tasks of a run, loaded once: for the first rank, before anything is trained.

    UserError where the harness, a task or its data is not there.
    """
    if not options.tasks:
        return None
    check_installed("evaluate.tasks")
    folder = Path(options.tasks_folder).expanduser() if options.tasks_folder else None
    try:
        return Tasks(Asked(tasks=options.tasks, folder=folder, limit=options.tasks_limit))
    except UserError as error:
        raise UserError(f"evaluate.tasks: {error}") from None


def are_due(options: EvaluateOptions, step: int, *, finished: bool) -> bool:
    """Whether the weights behind `step` are to be asked."""
    every = options.tasks_every_steps
    return bool(options.tasks) and (finished or (every is not None and step % every == 0))


def are_lacking(tasks: Tasks, run_folder: Path, step: int) -> bool:
    """Whether results behind `step` are not in the run folder: an evaluation was given up, or killed."""
    try:
        known = read_evaluation(evaluation_file(run_folder, step))
    except UserError:  # a damaged file: asking again tells of it, and training goes on
        return True
    return bool(lacking(tasks.names, known, limit=tasks.asked.limit, sha256=None))


def ask_weights(
    engine: Engine,
    tokenizer: Tokenizer,
    tasks: Tasks | None,
    *,
    name: str,
    position: Position,
    run_folder: Path,
    precision: str,
    batch_tokens: int,
    ranks: Ranks,
    device: torch.device,
    given_up: Callable[[], bool],
) -> Outcome:
    """Ask the engine's weights all tasks, and keep the results in evaluations/. Collective.

    `tasks`: on the first rank alone. `given_up` is asked before each pass; the same answer on every rank.
    """
    known: dict[str, Result] = {}
    with engine.whole_weights() as model:
        team = Team(model=model, tokenizer=tokenizer, ranks=ranks, device=device, given_up=given_up)

        def each(found: Mapping[str, Result]) -> None:
            known.update(found)
            evaluation = Evaluation(
                source=str(run_folder),
                name=name,
                step=position.step,
                tokens=position.tokens,
                harness=harness_version(),
                tasks=dict(known),
                settings=settings(team, batch_tokens) | {"precision": precision},
            )
            keep(evaluation_file(run_folder, position.step), evaluation)

        try:
            done = ask(team, tasks, batch_tokens=batch_tokens, each=each)
        except Exception as error:  # of tasks, their code, and what they make of the answers
            if is_lost_peer(error):
                raise
            return Outcome(results=known, problem=f"{type(error).__name__}: {error}")
    return Outcome(results=known, given_up=not done)


def tracked_tasks(results: Mapping[str, Result]) -> dict[str, float]:
    """For trackers, by name: tasks/piqa/acc_norm; the parts of groups are left out."""
    return {
        f"tasks/{name}/{metric}": number.value
        for name, result in results.items()
        if result.group is None
        for metric, number in result.metrics.items()
    }
