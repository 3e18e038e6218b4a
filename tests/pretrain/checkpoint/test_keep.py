"""Which checkpoints stay, by what a user is told: the newest few, and every n-th for ever."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pretrain.checkpoint.aside import write_state
from pretrain.checkpoint.format import checkpoint_name, file_sha256
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


def whole(root: Path, step: int, score: float | None = None) -> Path:
    folder = root / checkpoint_name(step)
    folder.mkdir()
    file = folder / "weight-00000.safetensors"
    file.touch()
    entry = {"bytes": 0, "sha256": file_sha256(file), "tensors": []}
    write_state(folder, {"position": {"step": step}, "score": score, "files": {file.name: entry}})
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


@given(STEPS, OPTIONS, st.integers(1, 5), st.data())
def test_the_best_stay_beside_the_others(
    steps: list[int], options: CheckpointOptions, num_best: int, data: st.DataObject
) -> None:
    scores = {step: data.draw(st.sampled_from([1.0, 2.0, 3.5])) for step in steps[::2]}
    with_best = options.model_copy(update={"keep_best": num_best})
    gone, without = expendable(steps, with_best, scores), expendable(steps, options, scores)
    kept_for_score = set(without) - set(gone)
    assert set(gone) <= set(without)
    assert kept_for_score <= scores.keys()
    stay = sorted(scores[step] for step in scores if step not in gone)
    assert stay[:num_best] == sorted(scores.values())[:num_best]
    assert len(kept_for_score) <= num_best


def test_what_was_just_saved_stays_though_a_later_step_is_there(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        whole(tmp_path, step)
    prune(tmp_path, CheckpointOptions(keep_last=1), just_saved=10)
    assert [folder.name for folder in checkpoints(tmp_path)] == ["step_00000010", "step_00000030"]
