"""Each reason to stop, alone: signals, the stop file, the time limit, a lost launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretrain.guard import stop
from pretrain.guard.options import GuardOptions
from pretrain.guard.stop import SIGNALS, Beginning, StopWatch

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def watch(folder: Path, **options: object) -> StopWatch:
    return StopWatch(GuardOptions.model_validate(options), folder)


def test_without_a_reason_there_is_none(tmp_path: Path) -> None:
    assert watch(tmp_path).reason() is None
    assert watch(tmp_path, max_seconds=3600).reason() is None


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_a_reason_and_no_end(tmp_path: Path, number: signal.Signals) -> None:
    stop_watch = watch(tmp_path)
    os.kill(os.getpid(), number)
    assert stop_watch.reason() == f"received {number.name}"


def test_the_first_signal_is_the_reason(tmp_path: Path) -> None:
    """As from a terminal under a launcher: Ctrl-C, then the launcher's SIGTERM."""
    stop_watch = watch(tmp_path)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop_watch.reason() == "received SIGINT"


def test_a_second_ctrl_c_means_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(stop.os, "_exit", codes.append)
    watch(tmp_path)
    os.kill(os.getpid(), signal.SIGINT)
    assert codes == []
    os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]


def test_a_stop_file_is_a_reason_while_it_is_there(tmp_path: Path) -> None:
    stop_watch = watch(tmp_path, stop_file="HALT")
    (tmp_path / "STOP").touch()
    assert stop_watch.reason() is None
    (tmp_path / "HALT").touch()
    assert str(tmp_path / "HALT") in (stop_watch.reason() or "")
    (tmp_path / "HALT").unlink()
    assert stop_watch.reason() is None


def test_the_time_limit_counts_from_the_beginning_of_the_job(tmp_path: Path) -> None:
    options = GuardOptions(max_seconds=60)
    assert StopWatch(options, tmp_path, Beginning(seconds=time.monotonic() - 50)).reason() is None
    late = StopWatch(options, tmp_path, Beginning(seconds=time.monotonic() - 61)).reason()
    assert late == "guard.max_seconds=60 reached"


def test_another_parent_than_at_the_beginning_is_a_reason(tmp_path: Path) -> None:
    parent, above = stop._launchers()
    assert parent == os.getppid()
    for launchers in ((parent + 1, above), (parent, above + 1)):
        assert (
            StopWatch(GuardOptions(), tmp_path, Beginning(launchers=launchers)).reason()
            == "the launcher is gone"
        )


RANK = """
import sys, time
from pathlib import Path
from pretrain.guard.options import GuardOptions
from pretrain.guard.stop import StopWatch
watch = StopWatch(GuardOptions(), Path(sys.argv[1]))
print("watching", flush=True)
while not watch.reason():
    time.sleep(0.05)
(Path(sys.argv[1]) / "reason").write_text(watch.reason())
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"


def test_a_rank_notices_that_its_launcher_was_killed(tmp_path: Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", PARENT, RANK, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"watching\n"
    assert not (tmp_path / "reason").exists()
    launcher.kill()
    launcher.wait()
    until = time.monotonic() + 20
    while not (tmp_path / "reason").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.05)
    assert (tmp_path / "reason").read_text() == "the launcher is gone"
