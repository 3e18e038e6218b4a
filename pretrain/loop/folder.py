"""The run folder: made or found, locked, and taken back to the checkpoint that the run continues from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pretrain.checkpoint.compatibility import check_compatible
from pretrain.checkpoint.load import Checkpoint, newest
from pretrain.config.load import dump
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.guard.lock import RunLock
from pretrain.monitor.record import rewind


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that this job owns."""

    path: Path
    lock: RunLock | None  # held by the first rank while the process lives
    checkpoint: Checkpoint | None  # where to continue from


def run_folder(config: Config) -> Path:
    """Where the run lives."""
    return Path(config.run.root) / config.run.name


def claim(config: Config) -> RunFolder:
    """Make or reopen the run folder for this job, and leave what is in it as it is; on the first rank only.

    Raises UserError when another job holds it, when its newest checkpoint is damaged, or when the config
    would not have trained what the checkpoint holds.
    """
    path = run_folder(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
    except OSError as error:
        raise UserError(
            f"run.root: {path} cannot be written ({error.strerror}); choose another folder."
        ) from None
    checkpoint = find_checkpoint(config)
    if checkpoint:
        checkpoint.verify()
        check_compatible(_saved_config(checkpoint), config, checkpoint.position)
    return RunFolder(path=path, lock=lock, checkpoint=checkpoint)


def begin(claimed: RunFolder, config: Config, fingerprint: dict[str, str]) -> None:
    """Take the record back to the checkpoint and note the config, if the data is what was trained on."""
    if claimed.checkpoint:
        check_fingerprint(claimed.checkpoint, fingerprint)
    rewind(claimed.path, claimed.checkpoint.position.step if claimed.checkpoint else 0)
    replace(claimed.path / "config.yaml", dump(config))


def find_checkpoint(config: Config) -> Checkpoint | None:
    """The newest checkpoint of the run, or None."""
    return newest(run_folder(config) / "checkpoints")


def _saved_config(checkpoint: Checkpoint) -> Config:
    try:
        return Config.model_validate(checkpoint.state["config"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{checkpoint.folder}: its config is not one of this version's ({error}).") from None


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
