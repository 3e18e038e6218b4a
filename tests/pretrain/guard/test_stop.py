"""Each reason to stop after an update, alone: a request, the stop file, the time limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pretrain.guard.options import GuardOptions
from pretrain.guard.signals import StopRequests
from pretrain.guard.stop import REMEMBERED, StopWatch


class Quiet(StopRequests):
    """Requests of a process that nobody signals."""

    def __init__(self, began: float | None = None) -> None:
        self.began = time.monotonic() if began is None else began
        self.reason = None
        self._interrupting = False


def watch(
    folder: Path, requests: StopRequests | None = None, *, first: bool = True, **options: object
) -> StopWatch:
    return StopWatch(GuardOptions.model_validate(options), folder, requests or Quiet(), first=first)


def test_without_a_reason_there_is_none(tmp_path: Path) -> None:
    assert watch(tmp_path).reason() is None
    assert watch(tmp_path, max_seconds=3600).reason() is None


def test_the_first_request_is_the_reason(tmp_path: Path) -> None:
    """As from a terminal under a launcher: Ctrl-C, then the launcher's SIGTERM."""
    requests = Quiet()
    stop_watch = watch(tmp_path, requests)
    requests.ask("received SIGINT")
    requests.ask("received SIGTERM")
    assert stop_watch.reason() == "received SIGINT"


def test_a_stop_file_is_a_reason_while_it_is_there(tmp_path: Path) -> None:
    stop_watch = watch(tmp_path, stop_file="HALT")
    (tmp_path / "STOP").touch()
    assert stop_watch.reason() is None
    (tmp_path / "HALT").touch()
    assert str(tmp_path / "HALT") in (stop_watch.reason() or "")
    assert watch(tmp_path, first=False, stop_file="HALT").reason() is None  # one rank looks, and tells
    (tmp_path / "HALT").unlink()
    assert stop_watch.reason() is None


def test_the_time_limit_counts_from_the_beginning_of_the_job(tmp_path: Path) -> None:
    ago = time.monotonic() - 50
    assert watch(tmp_path, Quiet(ago), max_seconds=60).reason() is None
    assert watch(tmp_path, Quiet(ago), max_seconds=49).reason() == "guard.max_seconds=49 reached"


@pytest.mark.parametrize(("seconds", "stops"), [(4.0, False), (6.0, True)])
def test_the_time_limit_leaves_room_for_an_update_and_a_save(
    tmp_path: Path, seconds: float, stops: bool
) -> None:
    """50 s have passed of 60: an update of `seconds` and a save of 5 s still fit, or do not."""
    stop_watch = watch(tmp_path, Quiet(time.monotonic() - 50), max_seconds=60)
    stop_watch.took("save", 5.0)
    for update in (1.0, seconds, 1.0):
        stop_watch.took("update", update)
    assert (stop_watch.reason() is not None) == stops


def test_a_first_update_that_compiled_is_forgotten(tmp_path: Path) -> None:
    stop_watch = watch(tmp_path, Quiet(time.monotonic() - 50), max_seconds=60)
    stop_watch.took("update", 300.0)
    assert stop_watch.reason()
    for _ in range(REMEMBERED):
        stop_watch.took("update", 1.0)
    assert stop_watch.reason() is None
