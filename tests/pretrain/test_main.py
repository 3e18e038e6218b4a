"""Exit codes and last words of one process of a run, with nothing run."""

from __future__ import annotations

import pytest

import pretrain.main
from pretrain.errors import UserError
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


def test_ctrl_c_before_training_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, KeyboardInterrupt())
    assert main(["--config", "tiny_dense"], rank(0)) == 130
    said = capsys.readouterr().err
    assert "Interrupted before training began" in said
    assert "Traceback" not in said


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
    monkeypatch.setattr(pretrain.main, "_run", lambda config, ranks, quiet: seen.append((config, quiet)) or 0)
    arguments = ["--local_rank=0", "run.seed=3", "--config", "tiny_dense.yaml", "--quiet", "run.name=x"]
    assert main(arguments, rank(0)) == 0
    config, quiet = seen[0]
    assert (config.run.seed, config.run.name, quiet) == (3, "x", True)
