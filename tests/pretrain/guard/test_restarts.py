"""When a run that ended is started again, and when it would be of no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.guard.restarts import MAX_WAIT_SECONDS, Ending, Restarts, newest_step, stamp, status_since
from pretrain.monitor.status import State, Status, write_status


def ending(code: int, state: State | None, saved_step: int = 0) -> Ending:
    return Ending(code=code, status=Status(state=state, step=0) if state else None, saved_step=saved_step)


@pytest.mark.parametrize(
    ("code", "state", "again", "leaves_with"),
    [
        (0, "finished", False, 0),
        (1, "finished", False, 0),  # a launcher that fails while it leaves
        (0, "continue", False, 0),
        (137, "continue", True, 0),  # the launcher was killed, the ranks saved
        (2, None, False, 2),
        (75, "failed", True, 0),
        (1, "failed", True, 0),
        (0, "running", True, 0),  # a launcher whose own launcher was killed
        (1, None, True, 0),
    ],
)
def test_what_the_first_ending_means(code: int, state: State | None, again: bool, leaves_with: int) -> None:
    decision = Restarts(max_restarts=3, wait_seconds=1).decide(ending(code, state))
    assert (decision.again, decision.code) == (again, leaves_with)


def test_two_crashes_without_a_checkpoint_between_them_are_the_last() -> None:
    restarts = Restarts(max_restarts=9, wait_seconds=1)
    assert restarts.decide(ending(75, "failed", 10)).again
    assert restarts.decide(ending(75, "failed", 20)).again
    last = restarts.decide(ending(75, "failed", 20))
    assert (last.again, last.code) == (False, 75)
    assert "no checkpoint" in last.why
    assert "step 20" in last.why


def test_restarts_are_bounded_and_back_off() -> None:
    restarts = Restarts(max_restarts=9, wait_seconds=10)
    decisions = [restarts.decide(ending(0, "running", step)) for step in range(1, 11)]
    assert [decision.wait_seconds for decision in decisions[:6]] == [10, 20, 40, 80, 160, 320]
    assert decisions[8].wait_seconds == MAX_WAIT_SECONDS
    assert [decision.again for decision in decisions] == [True] * 9 + [False]
    assert decisions[9].code == 1  # a crash, whatever its launcher says


def test_progress_is_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert newest_step(tmp_path) == 0
    for name in ("step_00000010", "step_00000020", "step_00000030.damaged", ".step_00000040.partial"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "state.json").touch()
    (tmp_path / "checkpoints" / "step_00000050").mkdir()
    assert newest_step(tmp_path) == 20


def test_the_status_of_an_earlier_start_is_not_this_ones(tmp_path: Path) -> None:
    assert status_since(tmp_path, stamp(tmp_path)) is None
    write_status(tmp_path, "continue", 3)
    before = stamp(tmp_path)
    assert status_since(tmp_path, before) is None
    write_status(tmp_path, "continue", 3)
    assert status_since(tmp_path, before) == Status(state="continue", step=3)
