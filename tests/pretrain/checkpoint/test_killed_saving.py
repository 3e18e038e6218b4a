"""SIGKILL before each operation on files of a save and in the middle of each write: old or new, but whole."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_operations import Operation, watched
from stored_state import BEHIND, IN_LINE, same, save_alone, saved_by_all, savers

from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.options import CheckpointOptions

OLD_STEP, OLD, NEW = 5, 1, 2
EVERY = 10  # in the default suite


def killed_at(number: int, work: Callable[[], None], *, half: bool) -> bool:
    """Do `work` in a child that dies before its operation of this number; whether it came that far."""
    child = os.fork()
    if child == 0:
        counter = itertools.count()

        def seen(operation: Operation) -> None:
            if next(counter) == number:
                if half:
                    operation.half()
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with watched(seen):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def outcomes(
    base: Path, work: Callable[[Path], None], step: int, every: int = 1, *, half: bool = False
) -> Iterator[str]:
    """Which checkpoint is there after a kill at each operation, until the save comes through."""
    for number in itertools.count(0, every):
        root = base.with_name(f"{base.name}-{number}-{half}")
        shutil.copytree(base, root)
        if not killed_at(number, lambda root=root: work(root), half=half):
            shutil.rmtree(root)
            return
        said: list[str] = []
        found = newest_good(root, said.append)
        assert found is not None
        assert said == []  # nothing was found damaged: it is whole or not there
        is_new = same(found, NEW)
        assert found.position.step == (step if is_new else OLD_STEP)
        assert is_new or same(found, OLD)
        yield "new" if is_new else "old"
        # the next save is as if nothing had happened, and leaves nothing behind
        assert save_alone(root, NEW, step).error is None
        assert sorted(path.name for path in root.iterdir()) == ["latest", f"step_{step:08d}"]
        shutil.rmtree(root)


def in_thread(root: Path, step: int, options: CheckpointOptions, size: int = 1) -> None:
    told, _ = saved_by_all(savers(root, options, size), NEW, step)
    assert told[0].error is None


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_alone(tmp_path / "base", OLD, OLD_STEP)
    return tmp_path / "base"


def assert_old_then_new(found: list[str], at_least: int) -> None:
    assert found == sorted(found, reverse=True)  # old, and from one operation on new
    assert set(found) == {"old", "new"}
    assert len(found) >= at_least


@pytest.mark.parametrize("step", [OLD_STEP + 2, OLD_STEP], ids=["the next step", "the same step"])
@pytest.mark.parametrize(
    "every",
    [EVERY, pytest.param(1, marks=pytest.mark.slow)],
    ids=["a tenth", "exhaustive"],
)
def test_a_save_killed_at_any_operation_leaves_a_whole_checkpoint(base: Path, step: int, every: int) -> None:
    for options in (IN_LINE, BEHIND):
        found = list(outcomes(base, lambda root, o=options: in_thread(root, step, o), step, every))
        assert_old_then_new(found, at_least=30 // every)


@pytest.mark.slow
def test_a_save_killed_in_the_middle_of_any_write_leaves_a_whole_checkpoint(base: Path) -> None:
    step = OLD_STEP + 2
    found = list(outcomes(base, lambda root: in_thread(root, step, BEHIND), step, half=True))
    assert_old_then_new(found, at_least=30)


@pytest.mark.parametrize(
    "every", [EVERY, pytest.param(1, marks=pytest.mark.slow)], ids=["a tenth", "exhaustive"]
)
def test_several_ranks_killed_at_any_operation_leave_a_whole_checkpoint(base: Path, every: int) -> None:
    """Their operations interleave as they happen to: old and new may alternate around the commit."""
    step = OLD_STEP + 2
    found = list(outcomes(base, lambda root: in_thread(root, step, BEHIND, 3), step, every))
    assert set(found) == {"old", "new"}
