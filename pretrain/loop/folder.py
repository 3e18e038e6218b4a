"""The run folder: made or found, locked, and taken back to the checkpoint that the run continues from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pretrain.checkpoint.branch import write_parent
from pretrain.checkpoint.compatibility import check_compatible, check_rates
from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.load import Checkpoint, newest, newest_readable
from pretrain.config.load import dump
from pretrain.config.past import branched_from, saved_config, saved_past
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.evaluate.harness.results import forget_after
from pretrain.files import replace
from pretrain.guard.lock import RunLock
from pretrain.monitor.record import rewind


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that this job owns."""

    path: Path
    lock: RunLock | None  # held by the first rank while the process lives
    checkpoint: Checkpoint | None  # the run's newest
    origin: (
        Checkpoint | None
    )  # where its state comes from: the newest, or another run's that it branches from


def claim(config: Config, say: Callable[[str], None]) -> RunFolder:
    """Make or reopen the run folder for this job; on the first rank only.

    Damaged checkpoints newer than the newest good one are named by `say` and set aside; all else that is in
    the folder stays as it is. Raises UserError when another job holds it, when there are checkpoints and none
    of them (or not the one that it branches from) is whole, or when the config would not have trained what
    the run's own checkpoint holds.
    """
    path = config.run.folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
    except OSError as error:
        raise UserError(
            f"run.root: {path} cannot be written ({error.strerror}); choose another folder."
        ) from None
    checkpoint, origin = newest_good(path / "checkpoints", say), find_origin(config)
    if origin and not checkpoint:
        origin.verify()
    if checkpoint:
        check_compatible(saved_config(checkpoint), config, checkpoint.position, saved_past(checkpoint))
    return RunFolder(path=path, lock=lock, checkpoint=checkpoint, origin=origin)


def begin(claimed: RunFolder, config: Config, fingerprint: dict[str, str]) -> None:
    """Take the record back to the checkpoint and note the config, if the data is what was trained on."""
    if claimed.checkpoint:
        check_fingerprint(claimed.checkpoint, fingerprint)
        check_rates(config, claimed.checkpoint.position.step)
    elif claimed.origin:
        write_parent(claimed.path, claimed.origin)
    step = claimed.origin.position.step if claimed.origin else 0
    rewind(claimed.path, step)
    forget_after(claimed.path, step)
    replace(claimed.path / "config.yaml", dump(config))


def find_checkpoint(config: Config) -> Checkpoint | None:
    """The newest checkpoint of the run, or None."""
    return newest(config.run.folder / "checkpoints")


def find_origin(config: Config) -> Checkpoint | None:
    """The checkpoint whose state the run goes on from: its own, or the one that it branches from."""
    own = find_checkpoint(config)
    if own or config.run.branch_from is None:
        return own
    return branched_from(config.run.branch_from)


def readable_origin(config: Config) -> Checkpoint | None:
    """As `find_origin`, before damaged checkpoints are set aside: of use for what they all say alike."""
    own = newest_readable(config.run.folder / "checkpoints")
    if own or config.run.branch_from is None:
        return own
    return branched_from(config.run.branch_from)


def check_fingerprint(checkpoint: Checkpoint, fingerprint: dict[str, str]) -> None:
    """UserError where tokenizer or shards are not those that the checkpoint was trained on."""
    saved = checkpoint.state.get("fingerprint", {})
    changed = [
        f"{name}: was {saved.get(name, 'absent')[:12]}, is {fingerprint.get(name, 'absent')[:12]}"
        for name in sorted(saved.keys() | fingerprint.keys())
        if saved.get(name) != fingerprint.get(name)
    ]
    if changed:
        raise UserError(
            f"{checkpoint.folder} was trained on other data (sha256):\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nThe sources' files, the tokenizer's options or (for kind: python) the installed packages"
            " have changed. Restore them, or start a new run with another run.name."
        )
