"""Which checkpoints stay, by what a user is told: the newest few, and every n-th for ever."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pretrain.checkpoint.format import STATE_FILE, checkpoint_name
from pretrain.checkpoint.keep import expendable, prune
from pretrain.checkpoint.load import checkpoints
from pretrain.checkpoint.options import CheckpointOptions

STEPS = st.sets(st.integers(1, 10_000), max_size=40).map(sorted)
OPTIONS = st.builds(
    CheckpointOptions,
    keep_last=st.integers(1, 10),
    keep_every=st.none() | st.integers(1, 500),
)


@given(STEPS, OPTIONS)
def test_the_newest_and_every_nth_stay_and_nothing_else(steps: list[int], options: CheckpointOptions) -> None:
    gone = expendable(steps, options)
    newest = set(sorted(steps, reverse=True)[: options.keep_last])
    for_ever = {step for step in steps if options.keep_every and not step % options.keep_every}
    assert set(steps) - set(gone) == newest | for_ever
    assert gone == sorted(gone)


@given(STEPS, OPTIONS)
def test_letting_go_after_every_save_leaves_what_letting_go_once_does(
    steps: list[int], options: CheckpointOptions
) -> None:
    there: list[int] = []
    for step in steps:
        there.append(step)
        there = [kept for kept in there if kept not in expendable(there, options)]
    assert there == [step for step in steps if step not in expendable(steps, options)]


def whole(root: Path, step: int) -> Path:
    folder = root / checkpoint_name(step)
    folder.mkdir()
    (folder / STATE_FILE).write_text("{}")
    (folder / "weight-00000.safetensors").touch()
    return folder


def test_pruning_deletes_the_expendable_and_what_kills_left_behind(tmp_path: Path) -> None:
    for step in (10, 20, 25, 30, 40):
        whole(tmp_path, step)
    for left in (".step_00000030.partial", ".step_00000005.doomed"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "weight-00000.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    prune(tmp_path, CheckpointOptions(keep_last=2, keep_every=20))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["notes.txt", "step_00000020", "step_00000030", "step_00000040"]


def test_what_is_half_written_or_half_deleted_is_no_checkpoint(tmp_path: Path) -> None:
    folder = whole(tmp_path, 7)
    whole(tmp_path, 9).rename(tmp_path / ".step_00000009.doomed")
    whole(tmp_path, 8).rename(tmp_path / ".step_00000008.partial")
    (tmp_path / checkpoint_name(11)).mkdir()  # without its state: copied in part
    assert checkpoints(tmp_path) == [folder]
    assert checkpoints(tmp_path / "absent") == []
