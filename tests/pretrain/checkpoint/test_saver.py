"""Saving behind the back of training: what is saved is the moment of the copy, by however many ranks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from stored_state import ALONE, BEHIND, IN_LINE, SHAPES, StoredState, same, save_alone, saved_by_all, savers
from torch import Tensor

from pretrain.checkpoint import staging, together
from pretrain.checkpoint.load import Checkpoint, checkpoints
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saver
from pretrain.engine.base import Kind


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
def test_ranks_share_the_files_and_the_checkpoint_is_one(tmp_path: Path, size: int) -> None:
    told, waited = saved_by_all(savers(tmp_path, BEHIND, size), seed=1, step=7)
    (saved,) = told
    assert (saved.step, saved.error, saved.note) == (7, None, None)
    assert saved.path == tmp_path / "step_00000007"
    assert saved.bytes == 4 * 90 * 3
    assert {one.error for one in waited if one} == {None}
    checkpoint = Checkpoint(saved.path)
    checkpoint.verify()
    assert same(checkpoint, 1)
    assert checkpoint.position == Position(step=7, tokens=70)
    assert checkpoint.state["facts"] == 1
    assert checkpoint.state["saved"]["ranks"] == size
    assert (tmp_path / "latest").read_text() == "step_00000007\n"
    assert len(checkpoint.files) >= min(size, 12)


def test_other_ranks_and_one_rank_save_the_same_numbers(tmp_path: Path) -> None:
    for size in (1, 3):
        saved_by_all(savers(tmp_path / str(size), BEHIND, size), seed=4, step=7)
        assert same(Checkpoint(tmp_path / str(size) / "step_00000007"), 4)


class Held:
    """Writing waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        real = together.write_share

        def write(*arguments: Any) -> Any:
            self.gate.wait(30)
            return real(*arguments)

        monkeypatch.setattr(together, "write_share", write)


def test_training_goes_on_and_what_is_saved_is_the_moment_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    (saver,) = savers(tmp_path, BEHIND, 1)
    model, facts = StoredState(1), {"facts": [1]}
    saver.save(model, Position(step=7, tokens=70), facts)
    assert saver.finished() == []
    assert checkpoints(tmp_path) == []
    for tensor in model.tensors.values():  # the next update
        tensor.zero_()
    facts["facts"].append(2)
    held.gate.set()
    saver.wait()
    (saved,) = saver.finished()
    assert saver.finished() == []
    assert same(Checkpoint(saved.path), 1)
    assert Checkpoint(saved.path).state["facts"] == [1]


def test_the_next_save_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    (saver,) = savers(tmp_path, CheckpointOptions(keep_last=9), 1)
    saver.save(StoredState(1), Position(step=7), {})
    threading.Timer(0.2, held.gate.set).start()
    began = time.monotonic()
    saver.save(StoredState(2), Position(step=8), {})
    assert time.monotonic() - began > 0.1
    saver.wait()
    assert [saved.step for saved in saver.finished()] == [7, 8]
    assert same(Checkpoint(tmp_path / "step_00000007"), 1)
    assert same(Checkpoint(tmp_path / "step_00000008"), 2)


def test_in_line_it_is_there_when_save_returns(tmp_path: Path) -> None:
    (saver,) = savers(tmp_path, IN_LINE, 1)
    saver.save(StoredState(1), Position(step=7), {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000007"]
    assert len(saver.finished()) == 1
    assert threading.active_count() == len(threading.enumerate())


def test_host_memory_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saver,) = savers(tmp_path, BEHIND, 1)
    saver.save(StoredState(1), Position(step=1), {})
    taken: list[Any] = []
    monkeypatch.setattr(staging.torch, "empty", lambda *rest, **named: taken.append(rest))
    for seed in (2, 3):
        saver.save(StoredState(seed), Position(step=seed), {})
    saver.wait()
    assert taken == []
    assert same(Checkpoint(tmp_path / "step_00000003"), 3)


def test_a_rank_that_cannot_write_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    those = savers(tmp_path, BEHIND, 3)
    saved_by_all(those, 1, 5)
    real = together.write_share

    def write(folder: Path, share: Any) -> Any:
        files = real(folder, share)
        if "weight-00002.safetensors" in files:
            raise PermissionError(13, "Permission denied", str(folder / "weight-00002.safetensors"))
        return files

    monkeypatch.setattr(together, "write_share", write)
    told, waited = saved_by_all(those, 2, 7)
    assert "rank 2: " in (told[0].error or "")
    assert "weight-00002.safetensors: Permission denied" in (told[0].error or "")
    assert {one.error for one in waited if one} == {told[0].error}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000005"]
    monkeypatch.undo()
    told, _ = saved_by_all(those, 2, 7)
    assert told[0].error is None


def test_a_root_that_is_not_shared_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.checkpoint.share_files.VISIBLE_SECONDS", 0.2)
    first, second = savers(tmp_path / "here", BEHIND, 2)
    second.root = tmp_path / "elsewhere"  # as on a machine with a disk of its own
    told, _ = saved_by_all([first, second], 1, 5)
    assert "run.root" in (told[0].error or "")
    assert "share" in (told[0].error or "")
    assert checkpoints(tmp_path / "here") == []


def test_notes_do_not_pile_up_in_the_store(tmp_path: Path) -> None:
    those = savers(tmp_path, BEHIND, 3)
    counts = []
    for step in range(1, 8):
        saved_by_all(those, step, step)
        assert isinstance(those[0]._store, dist.HashStore)
        counts.append(those[0]._store.num_keys())
    assert counts[1:] == [counts[1]] * 6


def test_a_save_on_its_way_keeps_no_process_that_ends(tmp_path: Path) -> None:
    """A thread that hangs on a dead file system must not hold up a process that was told to end."""
    script = f"""
import sys, time
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]
from pathlib import Path
from pretrain.checkpoint import together
together.write_share = lambda *_: time.sleep(60)
from stored_state import BEHIND, StoredState, savers
from pretrain.checkpoint.position import Position
(saver,) = savers(Path({str(tmp_path)!r}), BEHIND, 1)
saver.save(StoredState(1), Position(step=1), {{}})
sys.exit(3)
"""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", script], timeout=50)
    assert ended.returncode == 3
    assert time.monotonic() - began < 40


def test_the_best_by_validation_stay(tmp_path: Path) -> None:
    options = CheckpointOptions(keep_last=1, keep_best=2, asynchronous=False)
    (saver,) = savers(tmp_path, options, 1)
    for step, score in enumerate([3.0, 1.0, float("nan"), None, 2.0, 5.0], start=1):
        saver.save(StoredState(step), Position(step=step), {}, score)
        assert saver.finished()[0].note is None
    assert [folder.name[-1] for folder in checkpoints(tmp_path)] == ["2", "5", "6"]
    assert Checkpoint(tmp_path / "step_00000002").state["score"] == 1.0
    state = json.loads((tmp_path / "step_00000006" / "state.json").read_text())
    assert state["score"] == 5.0


def test_a_step_saved_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """After a rewind."""
    those = savers(tmp_path, BEHIND, 2)
    for seed in (1, 2):
        told, _ = saved_by_all(those, seed, 7)
        assert told[0].error is None
        assert same(Checkpoint(tmp_path / "step_00000007"), seed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_00000007"]


def test_a_tensor_that_is_no_fp32_is_refused(tmp_path: Path) -> None:
    class Half:
        def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
            yield "weight", "head", StoredState(1).tensors["weight", "head"].bfloat16()

    with pytest.raises(AssertionError, match="fp32"):
        Saver(tmp_path, IN_LINE, ALONE).save(Half(), Position(step=1), {})
    assert save_alone(tmp_path, 1, 1).error is None
    assert set(SHAPES) == {name for _, name in StoredState(1).tensors}
