"""Ranks that leave no sign of life: who is missed, from when on, and by whom."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pretrain.guard.blame import silent
from pretrain.guard.notes import Board, Heard, Note, note_of
from pretrain.ranks import Ranks

PATIENCE, GONE = 100.0, 10.0


def board_of(
    rank: int, heard: dict[int, tuple[Note, float]], *, size: int = 3, answered: float = 0.0
) -> Board:
    """What `rank` knows; times are seconds ago."""
    now = time.monotonic()
    place = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=0)
    board = Board(place, store=None)  # type: ignore[arg-type]
    board.heard = {who: Heard(note=note, at=now - age) for who, (note, age) in heard.items()}
    board.answered = now - answered
    return board


def missed(board: Board, began: float = 1000.0) -> str | None:
    return silent(board, PATIENCE, gone_seconds=GONE, since=time.monotonic() - began)


ALIVE = note_of(1, 1, "save 2")


@pytest.fixture(scope="module")
def gone() -> Note:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    note = note_of(1, 1, "save 2")
    return Note(**{**note.__dict__, "pid": process.pid})


@pytest.mark.parametrize(("age", "is_missed"), [(0.0, False), (90.0, False), (101.0, True)])
def test_a_silent_rank_is_missed_after_the_patience(age: float, is_missed: bool) -> None:
    found = missed(board_of(0, {1: (ALIVE, 0.0), 2: (ALIVE, age)}))
    assert bool(found) == is_missed
    if found:
        assert found.startswith("rank 2")
        assert "save 2" in found
        assert "rank 1" not in found


def test_a_process_that_is_gone_is_missed_sooner(gone: Note) -> None:
    assert missed(board_of(0, {1: (gone, 5.0), 2: (ALIVE, 0.0)})) is None
    found = missed(board_of(0, {1: (gone, 11.0), 2: (ALIVE, 11.0)}))
    assert found is not None
    assert found.startswith("rank 1")
    assert str(gone.pid) in found
    assert "rank 2" not in found


def test_a_rank_that_never_spoke_is_missed_once_there_was_time() -> None:
    assert missed(board_of(0, {1: (ALIVE, 0.0)}), began=99.0) is None
    assert missed(board_of(0, {1: (ALIVE, 0.0)}), began=101.0) == "rank 2 has never been heard of"


def test_others_judge_the_first_rank_alone() -> None:
    assert missed(board_of(1, {0: (ALIVE, 0.0), 2: (ALIVE, 500.0)})) is None
    found = missed(board_of(1, {0: (ALIVE, 101.0)}))
    assert found is not None
    assert found.startswith("rank 0")


def test_a_store_that_does_not_answer_is_said() -> None:
    found = missed(board_of(1, {0: (ALIVE, 0.0)}, answered=101.0))
    assert found is not None
    assert "the store" in found


def test_who_slept_itself_misses_nobody_for_that_time() -> None:
    assert missed(board_of(0, {1: (ALIVE, 500.0), 2: (ALIVE, 500.0)}, answered=500.0), began=1.0) is None
