"""`pretrain evaluate --watch`: what comes, goes and is damaged beside it, and what is no run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain.cli import main
from pretrain.data.progress import SilentProgress
from pretrain.errors import UserError
from pretrain.evaluate.harness import session as sessions
from pretrain.evaluate.harness.results import evaluation_file, read_evaluation
from pretrain.evaluate.harness.tasks import Asked, Tasks
from pretrain.evaluate.harness.view import table
from pretrain.layout import ranks_from
from pretrain.monitor.status import write_status

pytest.importorskip("lm_eval")


@pytest.fixture
def trained(tmp_path: Path, write_checkpoint: Callable[..., Path]) -> Path:
    folder = tmp_path / "runs" / "some"
    write_checkpoint(folder, 7, 4)
    return folder


class _Watching:
    """A session that watches `trained`, and a run that goes on while it waits."""

    def __init__(
        self,
        tasks_folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        events: list[Callable[[], Any]],
        task: str = "choice",
    ) -> None:
        self.said: list[str] = []
        self.session = sessions.Session(
            Asked(tasks=(task,), folder=tasks_folder, limit=3),
            sessions.Settings(precision=None, tokenizer=None, device="cpu", batch_tokens=None, out=None),
            ranks_from({}),
            say=self.said.append,
            progress=SilentProgress(),
        )
        monkeypatch.setattr(sessions.time, "sleep", lambda seconds: events.pop(0)())


def test_watching_takes_what_comes_and_ends_with_the_run(
    trained: Path, tasks_folder: Path, write_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        lambda: write_status(trained, "running", 7),
        lambda: write_checkpoint(trained, 9, 4, seed=5),
        lambda: write_status(trained, "finished", 9),
    ]
    watching = _Watching(tasks_folder, monkeypatch, events)
    assert [evaluation.step for evaluation in watching.session.watch(trained)] == [7, 9]
    # again: what is done is not repeated; a new checkpoint is
    again = _Watching(tasks_folder, monkeypatch, [])
    write_checkpoint(trained, 12, 4, seed=6)
    assert [evaluation.step for evaluation in again.session.watch(trained)] == [12]


def test_watching_survives_checkpoints_that_go_or_are_damaged(
    trained: Path, tasks_folder: Path, write_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = write_checkpoint(trained, 9, 4, seed=5)
    for file in damaged.glob("weight-*"):
        file.write_bytes(b"no weights")
    write_checkpoint(trained, 11, 4, seed=6)
    write_status(trained, "finished", 11)
    watching = _Watching(tasks_folder, monkeypatch, [])
    opening = sessions.open_model

    def open_while_7_goes(source: Path, **options: Any) -> Any:
        if source.name.endswith("7"):
            shutil.rmtree(source)
        return opening(source, **options)

    monkeypatch.setattr(sessions, "open_model", open_while_7_goes)
    assert [evaluation.step for evaluation in watching.session.watch(trained)] == [11]
    assert "step_00000007 was deleted before it was evaluated." in watching.said
    assert any(text.startswith("step_00000009 cannot be evaluated") for text in watching.said)


def test_watching_what_is_no_folder_is_a_mistake(
    tmp_path: Path, tasks_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        _Watching(tasks_folder, monkeypatch, []).session.watch(tmp_path / "gone")


@pytest.fixture
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint is read twice."""
    opening, seen = sessions.open_model, set()

    def open_it(source: Path, **options: Any) -> Any:
        assert source not in seen
        seen.add(source)
        return opening(source, **options)

    monkeypatch.setattr(sessions, "open_model", open_it)


@pytest.mark.usefixtures("opened_once", "only_our_tasks")
def test_a_group_without_a_mean_is_its_tasks(
    trained: Path, tasks_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tasks"
    shutil.copytree(tasks_folder, folder)
    (folder / "inner.yaml").write_text("group: inner\ntask: [choice]\n")
    (folder / "bare.yaml").write_text("group: bare\ntask: [inner, rolling]\n")
    write_status(trained, "finished", 7)
    watching = _Watching(folder, monkeypatch, [], task="bare")
    (evaluation,) = watching.session.watch(trained)
    assert {name: result.group for name, result in evaluation.tasks.items()} == {
        "choice": None,
        "rolling": None,
    }
    assert list(table(evaluation).columns[0].cells)[:2] == ["choice", ""]
    assert _Watching(folder, monkeypatch, [], task="bare").session.watch(trained) == []


@pytest.mark.usefixtures("only_our_tasks")
@pytest.mark.parametrize(
    ("task", "names", "groups"),
    [
        ("meaned", {"meaned"}, {"meaned": None, "choice": "meaned", "writing": "meaned"}),
        ("gathered", {"meaned", "rolling"}, {"rolling": None, "meaned": None, "choice": "meaned"}),
        ("elsewhere", {"choice"}, {"choice": None}),  # a mean of what nothing in it measures
    ],
)
def test_what_is_shown_of_groups_in_groups(
    task: str,
    names: set[str],
    groups: dict[str, str | None],
    trained: Path,
    tasks_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "tasks"
    shutil.copytree(tasks_folder, folder)
    mean = "aggregate_metric_list: [{metric: acc}]\n"
    (folder / "inner.yaml").write_text("group: inner\ntask: [choice]\n")
    (folder / "meaned.yaml").write_text(f"group: meaned\ntask: [inner, writing]\n{mean}")
    (folder / "gathered.yaml").write_text("group: gathered\ntask: [meaned, rolling]\n")
    (folder / "elsewhere.yaml").write_text(f"group: elsewhere\ntask: [inner]\n{mean.replace('acc', 'f1')}")
    write_status(trained, "finished", 7)
    watching = _Watching(folder, monkeypatch, [], task=task)
    (evaluation,) = watching.session.watch(trained)
    assert watching.session.tasks is not None
    assert set(watching.session.tasks.names) == names
    assert {name: evaluation.tasks[name].group for name in groups} == groups
    assert {name for name, result in evaluation.tasks.items() if result.group is None} == names


@pytest.mark.usefixtures("opened_once")
def test_what_has_no_numbers_is_told_of_and_not_asked_for_ever(
    trained: Path, tasks_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tasks, "names", ("choice", "silent"))
    write_status(trained, "finished", 7)
    watching = _Watching(tasks_folder, monkeypatch, [])
    assert [evaluation.step for evaluation in watching.session.watch(trained)] == [7]
    assert "Warning: silent: has no numbers of its own." in watching.said


def command(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("runs/some/checkpoints/step_00000007", "one model"),
        ("runs/some/checkpoints", "the folder of their run"),
        ("model", "one model"),
        ("gone", "no such folder"),
    ],
)
def test_what_never_will_be_a_run_is_refused(
    place: str, words: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert command(tmp_path / place, "--watch", "--tasks", "choice") == 2
    assert words in capsys.readouterr().err


def test_waiting_for_a_run_to_begin_is_said_once(
    tmp_path: Path, tasks_folder: Path, write_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "soon"
    run.mkdir(parents=True)
    events = [
        lambda: None,
        lambda: write_checkpoint(run, 3, 4),
        lambda: write_status(run, "finished", 3),
    ]
    watching = _Watching(tasks_folder, monkeypatch, events)
    assert [evaluation.step for evaluation in watching.session.watch(run)] == [3]
    assert [text for text in watching.said if "waiting" in text] == [
        f"{run}: no run has begun there; waiting for its checkpoints."
    ]
    again = _Watching(tasks_folder, monkeypatch, [])
    again.session.watch(run)
    assert again.said == []


def test_a_quoted_tilde_is_the_home(
    trained: Path, tasks_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(tasks_folder, tmp_path / "tasks")
    write_status(trained, "finished", 7)
    assert command("~/runs/some", "--watch", "--tasks", "choice", "--tasks-folder", "~/tasks") == 0
    assert read_evaluation(evaluation_file(trained, 7)) is not None
