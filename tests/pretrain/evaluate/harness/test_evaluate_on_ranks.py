"""`pretrain evaluate` on ranks of which one sees or finds something else than the others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pretrain.cli import main
from pretrain.commands import evaluate as command
from pretrain.data.progress import SilentProgress
from pretrain.errors import UserError
from pretrain.evaluate.harness import session as sessions
from pretrain.evaluate.harness.tasks import Asked
from pretrain.evaluate.harness.team import Unfit
from pretrain.layout import ranks_from

pytest.importorskip("lm_eval")

HERE = Path(__file__).parent
SECOND = {"RANK": "1", "WORLD_SIZE": "2"}


class Ended(NamedTuple):
    """A rank that is done."""

    code: int
    out: str
    err: str


def together(*arguments: Any, size: int = 2) -> list[Ended]:
    """What the worker does on each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    quiet = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(HERE.parents[3])}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(HERE / "ranks_worker.py"), *map(str, arguments)],
            env=os.environ | place | quiet | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        spoken = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [Ended(rank.returncode, *words) for rank, words in zip(ranks, spoken, strict=True)]


@pytest.fixture
def two_checkpoints(tmp_path: Path, write_checkpoint: Callable[..., Path]) -> Path:
    run = tmp_path / "runs" / "some"
    write_checkpoint(run, 7, seed=3)
    write_checkpoint(run, 9, seed=99)
    return run


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("ranks", ["0,1", "1"])
def test_a_model_that_is_not_finite_is_one_line_of_the_first_rank(
    ranks: str, two_checkpoints: Path, tasks_folder: Path
) -> None:
    told = ("--tasks", "choice", "--tasks-folder", tasks_folder, "--batch-tokens", 60)  # several rows
    first, second = together("diverged", ranks, "evaluate", two_checkpoints, *told)
    assert (first.code, second.code) == (2, 2)
    lines = [line for line in first.err.splitlines() if line.startswith("pretrain: ")]
    assert len(lines) == 1
    assert "not finite" in lines[0]
    assert ("rank 1" in lines[0]) == (ranks == "1")
    assert "Traceback" not in first.err + second.err
    assert "pretrain: " not in second.err
    assert first.out + second.out == ""


@pytest.mark.dist
@pytest.mark.slow
def test_a_bug_on_another_rank_leaves_its_traceback(two_checkpoints: Path, tasks_folder: Path) -> None:
    told = ("--tasks", "choice", "--tasks-folder", tasks_folder, "--batch-tokens", 60)
    first, second = together("broken", "1", "evaluate", two_checkpoints, *told)
    assert (first.code, second.code) == (2, 2)
    assert "rank 1: RuntimeError: no kernel for this device." in first.err
    assert "Traceback" not in first.err
    assert "ranks_worker.py" in second.err.split("Traceback")[1]


@pytest.mark.dist
@pytest.mark.slow
def test_all_ranks_read_the_checkpoint_that_the_first_one_finds(
    two_checkpoints: Path, tasks_folder: Path, tmp_path: Path
) -> None:
    told = ["--tasks", "choice,rolling", "--tasks-folder", str(tasks_folder), "--batch-tokens", "60"]
    ranks = together("behind", "1", "evaluate", two_checkpoints, *told, "--out", tmp_path / "two.json")
    assert [rank.code for rank in ranks] == [0, 0], ranks[0].err + ranks[1].err
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(two_checkpoints), *told, "--out", str(tmp_path / "one.json")])
    assert not ended.value.code
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["step"] == two["step"] == 9
    assert one["tasks"] == two["tasks"]


class _Second:
    """The second of two ranks, which hears the first's words one after another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, words: list[Any]) -> None:
        self.opened: list[Any] = []
        monkeypatch.setattr(sessions, "join", lambda ranks, device: object())
        monkeypatch.setattr(sessions, "first_does", lambda *_: None)
        monkeypatch.setattr(sessions, "all_do", lambda work, ranks: work())
        monkeypatch.setattr(
            sessions, "evaluate_opened", lambda team, opened, *_, **__: self.opened.append(opened)
        )
        monkeypatch.setattr(
            "torch.distributed.broadcast_object_list", lambda box, **_: box.__setitem__(0, words.pop(0))
        )
        self.session = sessions.Session(
            Asked(tasks=("choice",)),
            sessions.Settings(precision=None, tokenizer=None, device="cpu", batch_tokens=None, out=None),
            ranks_from(SECOND),
            say=lambda text: None,
            progress=SilentProgress(),
        )


def test_another_rank_reads_what_it_is_told(two_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = two_checkpoints / "checkpoints" / "step_00000007"
    seal = json.loads((older / "state.json").read_text())["sha256"]
    second = _Second(monkeypatch, [older, seal])
    second.session.evaluate(two_checkpoints)
    assert [(opened.step, opened.sha256) for opened in second.opened] == [(7, seal)]


def test_other_weights_under_the_same_name_are_refused(
    two_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = two_checkpoints / "checkpoints" / "step_00000007"
    second = _Second(monkeypatch, [older, "another"])
    with pytest.raises(UserError, match="ranks read different weights"):
        second.session.evaluate(two_checkpoints)
    assert not second.opened


@pytest.mark.parametrize(("place", "words"), [({}, "some: rank 1: not finite."), (SECOND, "")])
def test_what_another_rank_could_not_do_is_a_mistake_that_the_first_tells(
    place: dict[str, str],
    words: str,
    two_checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    class Failing:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.ranks = ranks_from(place)

        def evaluate(self, source: Path) -> None:
            raise Unfit("rank 1: not finite")

        def close(self) -> None:
            pass

    monkeypatch.setattr(sessions, "Session", Failing)
    monkeypatch.setattr(command, "LAST_WORD_SECONDS", 0)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(two_checkpoints), "--tasks", "choice"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert (err == "") if not words else words in err
