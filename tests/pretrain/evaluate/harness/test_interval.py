"""Tasks between updates: the weights of now are asked, a stop is heard, and nothing else is disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretrain.checkpoint.position import Position
from pretrain.errors import UserError
from pretrain.evaluate.harness.interval import (
    Outcome,
    are_due,
    are_lacking,
    ask_weights,
    open_tasks,
    tracked_tasks,
)
from pretrain.evaluate.harness.results import evaluation_file, forget_after, in_words, read_evaluation
from pretrain.evaluate.harness.tasks import Tasks
from pretrain.evaluate.harness.team import FAILURE, MISTAKE, Team, Unfit
from pretrain.evaluate.opened import Opened, open_model
from pretrain.evaluate.options import EvaluateOptions
from pretrain.layout import ranks_from

pytest.importorskip("lm_eval")

CPU = torch.device("cpu")


def options(tasks_folder: Path, *tasks: str, **given: Any) -> EvaluateOptions:
    return EvaluateOptions(tasks=tasks, tasks_folder=str(tasks_folder), **given)


@pytest.fixture
def opened(tmp_path: Path, write_checkpoint: Callable[..., Path]) -> Opened:
    return open_model(write_checkpoint(tmp_path / "runs" / "some", 7, 4), precision=None, device=CPU)


def outcome_of(opened: Opened, tasks: Tasks | None, folder: Path, given_up: Callable[[], bool]) -> Outcome:
    class Engine:
        @contextmanager
        def whole_weights(self) -> Iterator[Any]:
            yield opened.model

    engine: Any = Engine()
    return ask_weights(
        engine,
        opened.tokenizer,
        tasks,
        name="some",
        position=Position(step=6, tokens=600),
        run_folder=folder,
        precision="fp32",
        batch_tokens=64,
        ranks=ranks_from({}),
        device=CPU,
        given_up=given_up,
    )


def drawn() -> tuple[str, str, str]:
    """Where the process's random numbers stand."""
    return str(random.getstate()), str(np.random.get_state()), str(torch.get_rng_state().tolist())  # noqa: NPY002


def test_the_weights_of_now_are_asked_and_the_results_kept(
    opened: Opened, tasks_folder: Path, tmp_path: Path
) -> None:
    tasks = open_tasks(options(tasks_folder, "choice", "writing"))
    assert tasks is not None
    assert are_lacking(tasks, tmp_path, 6)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = drawn()
    found = outcome_of(opened, tasks, tmp_path, lambda: False)
    assert drawn() == before  # training goes on as if it had not been interrupted
    assert (found.given_up, found.problem) == (False, None)
    assert not are_lacking(tasks, tmp_path, 6)
    kept = read_evaluation(evaluation_file(tmp_path, 6))
    assert kept is not None
    assert (kept.step, kept.tokens, kept.tasks) == (6, 600, found.results)
    numbers = tracked_tasks(found.results)
    assert set(numbers) == {"tasks/choice/acc", "tasks/choice/acc_norm", "tasks/writing/exact_match"}
    assert f"choice acc_norm {numbers['tasks/choice/acc_norm']:.4f}" in in_words(found.results)
    # asked again, the same; of weights that were gone back on, nothing stays
    assert outcome_of(opened, tasks, tmp_path, lambda: False).results == found.results
    forget_after(tmp_path, 6)
    assert evaluation_file(tmp_path, 6).exists()
    forget_after(tmp_path, 5)
    assert not evaluation_file(tmp_path, 6).exists()


def test_a_request_to_stop_is_heard_between_two_passes(
    opened: Opened, tasks_folder: Path, tmp_path: Path
) -> None:
    tasks = open_tasks(options(tasks_folder, "rolling", "choice"))
    assert tasks is not None
    answers = iter([False, False, True])  # one text of `rolling` is longer than a pass
    found = outcome_of(opened, tasks, tmp_path, lambda: next(answers))
    assert found.given_up
    assert next(answers, None) is None
    assert are_lacking(tasks, tmp_path, 6)


def test_a_task_that_fails_is_told_and_no_more(opened: Opened, tasks_folder: Path, tmp_path: Path) -> None:
    tasks = open_tasks(options(tasks_folder, "choice"))
    with torch.no_grad():
        opened.model.norm.weight.fill_(float("nan"))
    found = outcome_of(opened, tasks, tmp_path, lambda: False)
    assert not found.given_up
    assert "not finite" in str(found.problem)


def test_a_perplexity_beyond_all_numbers_is_told_with_its_task(
    opened: Opened, tasks_folder: Path, tmp_path: Path
) -> None:
    with torch.no_grad():
        opened.model.norm.weight.fill_(1e5)  # logits are finite, and far apart
    found = outcome_of(opened, open_tasks(options(tasks_folder, "rolling")), tmp_path, lambda: False)
    assert "task 'rolling': its perplexity is more than a number can hold" in str(found.problem)


def test_when_tasks_are_due(tasks_folder: Path) -> None:
    every = options(tasks_folder, "choice", tasks_every_steps=5)
    assert [step for step in range(1, 12) if are_due(every, step, finished=step == 11)] == [5, 10, 11]
    only_at_the_end = options(tasks_folder, "choice")
    assert not are_due(only_at_the_end, 5, finished=False)
    assert are_due(only_at_the_end, 5, finished=True)
    assert not are_due(EvaluateOptions(), 5, finished=True)


def test_a_damaged_file_of_results_is_results_that_lack(tasks_folder: Path, tmp_path: Path) -> None:
    tasks = open_tasks(options(tasks_folder, "choice"))
    assert tasks is not None
    path = evaluation_file(tmp_path, 5)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert are_lacking(tasks, tmp_path, 5)


def test_what_the_first_rank_could_not_do_reaches_the_others(opened: Opened) -> None:
    team = Team(model=opened.model, tokenizer=opened.tokenizer, ranks=ranks_from({}), device=CPU)
    for how, error in ((FAILURE, Unfit), (MISTAKE, UserError)):
        told = replace_heard(team, (how, "logits are not finite"))
        with pytest.raises(error, match="logits are not finite"):
            told.serve()


def replace_heard(team: Team, message: tuple[str, str]) -> Team:
    """A team that hears one message."""
    heard = copy(team)
    object.__setattr__(heard, "_heard", lambda _: message)
    return heard


def test_mistakes_are_told_before_training(tasks_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tasks(EvaluateOptions()) is None
    with pytest.raises(ValueError, match="tasks names none"):
        EvaluateOptions(tasks_limit=5)
    with pytest.raises(UserError, match=r"evaluate\.tasks: .*no such folder"):
        open_tasks(options(tasks_folder / "gone", "choice"))
    monkeypatch.setattr("pretrain.evaluate.harness.tasks.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"evaluate\.tasks: .*not installed"):
        open_tasks(options(tasks_folder, "choice"))
