"""Ask a model all tasks, and keep what comes of it: on every rank, of which the first alone has the tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.checkpoint.format import SEAL, STATE_FILE
from pretrain.checkpoint.load import Checkpoint
from pretrain.evaluate.harness.results import Evaluation, Result, evaluation_file, keep
from pretrain.evaluate.harness.tasks import Tasks, harness_version
from pretrain.evaluate.harness.team import GivenUp, Team

if TYPE_CHECKING:
    from pretrain.evaluate.opened import Opened

BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # of a pass, where nobody says


def ask(
    team: Team, tasks: Tasks | None, *, batch_tokens: int, each: Callable[[Mapping[str, Result]], None]
) -> bool:
    """Ask every task; `each` hears of one after another. Whether it was done, not given up. Collective.

    `tasks`: on the first rank alone, which is where `each` is called.
    """
    if not team.ranks.first:
        return team.serve()
    from pretrain.evaluate.harness.language_model import DecoderLM

    assert tasks is not None, "the first rank has the tasks"
    try:
        for found in tasks.results(DecoderLM(team, batch_tokens)):
            each(found)
    except GivenUp:
        return False
    except Exception as error:
        team.end(error)
        raise
    team.end()
    return True


def evaluate_opened(
    team: Team, opened: Opened, tasks: Tasks | None, *, batch_tokens: int, out: Path | None
) -> Evaluation | None:
    """The results of an opened model, kept after each task where there is a file; None on other ranks.

    `out`: the file; None: the run's own, where a run made these weights.
    """
    path = out or file_of(opened)
    known: dict[str, Result] = {}
    last: list[Evaluation] = []

    def each(found: Mapping[str, Result]) -> None:
        known.update(found)
        now = Evaluation(
            source=str(opened.source),
            name=opened.name,
            step=opened.step,
            tokens=opened.tokens,
            harness=harness_version(),
            tasks=dict(known),
            settings=settings(team, batch_tokens) | {"precision": opened.precision},
            sha256=opened.sha256,
        )
        if path:
            keep(path, now)
        last[:] = [now]

    ask(team, tasks, batch_tokens=batch_tokens, each=each)
    return last[0] if last else None


def settings(team: Team, batch_tokens: int) -> dict[str, object]:
    """How the last of the results were made."""
    return {"ranks": team.ranks.size, "device": team.device.type, "batch_tokens": batch_tokens}


def file_of(opened: Opened) -> Path | None:
    """The file in the run folder for these weights; None where they are no run's checkpoint."""
    checkpoints = opened.source.absolute().parent
    if opened.step is None or checkpoints.name != "checkpoints":
        return None
    return evaluation_file(checkpoints.parent, opened.step)


def seal_of(source: Path) -> str | None:
    """The hash of a checkpoint's state; None for what is no checkpoint."""
    return Checkpoint(source).state.get(SEAL) if (source / STATE_FILE).is_file() else None
