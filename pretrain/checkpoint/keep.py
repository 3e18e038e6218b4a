"""Which checkpoints stay: the newest few, every n-th for ever, the best few by validation."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pretrain.checkpoint.leavings import DOOMED, sweep
from pretrain.checkpoint.load import checkpoints, step_of
from pretrain.checkpoint.manifest import NoState, damages, read_state
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.files import sync

REGULAR = "regular"  # the key of state.json that says whether a save was due, not made to stop
SCORE = "score"  # the key of state.json with the validation loss at the save


def expendable(
    steps: Sequence[int],
    options: CheckpointOptions,
    scores: Mapping[int, float] | None = None,
    irregular: Collection[int] = (),
) -> list[int]:
    """Of ascending steps, those that may go. `scores`: the validation loss of those that have one.

    `irregular`: saved in order to stop. Only the newest of them stays, and it pushes out none that was due: a
    rewind goes to the same checkpoint whether the run was ever stopped or not.
    """
    scores, regular = scores or {}, [step for step in steps if step not in irregular]
    best = sorted((step for step in steps if step in scores), key=lambda step: (scores[step], step))
    stay = {*regular[-options.keep_last :], *steps[-1:], *best[: options.keep_best or 0]}
    stay |= {step for step in steps if options.keep_every and step % options.keep_every == 0}
    return [step for step in steps if step not in stay]


def prune(root: Path, options: CheckpointOptions, just_saved: int | None = None) -> None:
    """Delete the expendable checkpoints under `root`, and what killed jobs left of writing and deleting.

    `just_saved`: a step that stays, which after a rewind need not be the highest. One that is visibly damaged
    counts for nothing and stays: it must not push out a whole one.
    """
    sweep(root)
    folders = {step_of(folder): folder for folder in checkpoints(root) if not damages(folder, hashes=False)}
    irregular = [step for step, folder in folders.items() if not is_regular(folder)]
    may_go = expendable(sorted(folders), options, _scores(folders), irregular)
    gone = [step for step in may_go if step != just_saved]
    for step in gone:
        # renamed first: a folder that is half deleted must not look like a checkpoint
        folders[step].rename(root / f".{folders[step].name}{DOOMED}")
    if gone:
        sync(root)
    for left in root.glob(f".step_*{DOOMED}"):
        shutil.rmtree(left, ignore_errors=True)


def drop_newer(root: Path, step: int) -> None:
    """Delete checkpoints behind `step`, where the run goes back to: they were saved in order to stop."""
    newer = [folder for folder in checkpoints(root) if step_of(folder) > step]
    for folder in newer:
        folder.rename(root / f".{folder.name}{DOOMED}")
    if newer:
        sync(root)
        sweep(root)


def is_regular(folder: Path) -> bool:
    """Whether a checkpoint was due, and not saved in order to stop; earlier versions' count as due."""
    try:
        return bool(read_state(folder).get(REGULAR, True))
    except NoState:
        return True


def _scores(folders: Mapping[int, Path]) -> dict[int, float]:
    found = {}
    for step, folder in folders.items():
        try:
            score = read_state(folder).get(SCORE)
        except NoState:
            continue
        if isinstance(score, (int, float)):
            found[step] = float(score)
    return found
