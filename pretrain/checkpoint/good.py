"""The newest checkpoint of a run that is whole, every byte compared; damaged ones are set aside by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pretrain.checkpoint.aside import point_latest
from pretrain.checkpoint.leavings import settle
from pretrain.checkpoint.load import Checkpoint, step_folders
from pretrain.checkpoint.manifest import Damage, damages
from pretrain.errors import UserError
from pretrain.files import sync

DAMAGED = ".damaged"
MAX_NAMED = 8  # damaged files of one checkpoint that a message lists


def newest_good(
    root: Path, say: Callable[[str], None], *, use: Callable[[Path], bool] = lambda folder: True
) -> Checkpoint | None:
    """The newest checkpoint that verifies; damaged newer ones are renamed: it is then the newest on any rank.

    On the first rank only, under the run's lock. UserError where there are checkpoints and none is whole: a
    run does not start anew over what may be saved by hand. Those that are not of `use` are passed over.
    """
    settle(root)
    bad: list[tuple[Path, list[Damage]]] = []
    for folder in reversed([folder for folder in step_folders(root) if use(folder)]):
        found = damages(folder)
        if not found:
            _set_aside(root, bad, good=folder, say=say)
            return Checkpoint(folder)
        if found[0].what == "format":
            raise UserError(f"{found[0]}.")  # another version's is not damaged
        bad.append((folder, found))
    lost = sorted(root.glob(f"step_*{DAMAGED}*"))
    if bad or lost:
        raise UserError(_all_damaged(root, bad, lost))
    return None


def describe(found: Sequence[Damage]) -> str:
    """What is wrong, a line a file."""
    lines = [f"  {damage}" for damage in found[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        lines.append(f"  and {len(found) - MAX_NAMED} more")
    return "\n".join(lines)


def _set_aside(
    root: Path, bad: Sequence[tuple[Path, list[Damage]]], *, good: Path, say: Callable[[str], None]
) -> None:
    for folder, found in bad:
        away = _free_name(folder)
        folder.rename(away)
        say(
            f"Warning: checkpoint {folder.name} is damaged:\n{describe(found)}\n"
            f"It is set aside as {away.name}, and the run goes on from {good.name}."
        )
    if bad:
        sync(root)
        point_latest(root, good.name)


def _free_name(folder: Path) -> Path:
    away, number = folder.with_name(folder.name + DAMAGED), 2
    while away.exists():
        away, number = folder.with_name(f"{folder.name}{DAMAGED}.{number}"), number + 1
    return away


def _all_damaged(root: Path, bad: Sequence[tuple[Path, list[Damage]]], lost: Sequence[Path]) -> str:
    named = [f"{folder.name}:\n{describe(found)}" for folder, found in bad]
    named += [f"{folder.name}: set aside earlier" for folder in lost]
    return (
        f"{root}: no checkpoint of this run is whole, and nothing was changed:\n"
        + "\n".join(named)
        + "\nPut files back from a copy; to start anew, move these folders away or choose another run.name."
    )
