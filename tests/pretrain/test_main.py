"""Exit codes and last words of one process of a run, with nothing run."""

from __future__ import annotations

from typing import Any

import pytest

import pretrain.main
from pretrain.errors import UserError
from pretrain.guard.replicas import Corrupt
from pretrain.guard.signals import Stopped
from pretrain.guard.watchdog import AGAIN
from pretrain.main import main
from pretrain.ranks import Ranks


def rank(number: int) -> Ranks:
    return Ranks(rank=number, size=2, local_rank=number, local_size=2, address="127.0.0.1", port=0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(pretrain.main.time, "sleep", slept.append)
    return slept


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(*arguments: object, **options: object) -> int:
        raise error

    monkeypatch.setattr(pretrain.main, "_run", run)


def test_the_first_rank_speaks_and_the_others_let_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waits: list[float]
) -> None:
    ending(monkeypatch, UserError("run.root: no."))
    assert main(["--config", "tiny_dense"], rank(0)) == 2
    assert capsys.readouterr().err == "\nrun.root: no.\n"
    assert waits == []
    assert main(["--config", "tiny_dense"], rank(1)) == 2
    assert capsys.readouterr().err == ""
    assert waits == [pretrain.main.LAST_WORD_SECONDS]


def test_a_failure_of_ours_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, ZeroDivisionError("ours"))
    assert main(["--config", "tiny_dense"], rank(1)) == 1
    said = capsys.readouterr().err
    assert said.startswith("rank 1 failed:\nTraceback")
    assert "ZeroDivisionError: ours" in said


def test_what_a_launcher_adds_and_where_overrides_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        pretrain.main, "_run", lambda config, ranks, requests, quiet: seen.append((config, quiet)) or 0
    )
    arguments = ["--local_rank=0", "run.seed=3", "--config", "tiny_dense.yaml", "--quiet", "run.name=x"]
    assert main(arguments, rank(0)) == 0
    config, quiet = seen[0]
    assert (config.run.seed, config.run.name, quiet) == (3, "x", True)


class Job:
    """What `main` asks of a job, whose run ends as it is told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.ranks = rank(1)
        self.words: list[str] = []
        self.watchdog = self

    def run(self) -> int:
        raise self.error

    def stopped(self, reason: str) -> None:
        self.words.append(f"stopped {reason}")

    def failed(self, reason: str, *, instead_of: str | None = None) -> None:
        """What is known later stands in the place of what was said first."""
        if instead_of is not None:
            self.words.remove(f"failed {instead_of}")
        self.words.append(f"failed {reason}")

    def missing(self) -> str:
        return "rank 3 is gone"


class Console:
    def say(self, text: str) -> None:
        """Nobody listens."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Stopped("received SIGTERM"), 0, ["stopped received SIGTERM"]),
        (Corrupt("rank 1 of 3 differs"), AGAIN, ["failed rank 1 of 3 differs"]),
        (
            RuntimeError("Connection closed by peer [::1]:2"),
            AGAIN,
            ["failed lost another rank: rank 3 is gone"],
        ),
    ],
)
def test_what_ends_a_job_is_a_word_and_a_code(error: BaseException, code: int, words: list[str]) -> None:
    job: Any = Job(error)
    console: Any = Console()
    assert pretrain.main._done(job, console) == code
    assert job.words == words


def test_a_failure_is_left_as_a_word_for_the_others() -> None:
    job: Any = Job(RuntimeError("shapes do not match"))
    console: Any = Console()
    with pytest.raises(RuntimeError, match="shapes"):
        pretrain.main._done(job, console)
    assert job.words == ["failed RuntimeError: shapes do not match"] * 2  # in status.json and in the store
