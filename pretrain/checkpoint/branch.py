"""A run that goes on from another's checkpoint: what has to be the same, and what it notes of its parent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.format import SEAL
from pretrain.checkpoint.load import Checkpoint
from pretrain.config.derive import Derived
from pretrain.config.schema import Config
from pretrain.data.tokenizer import find_folder
from pretrain.data.tokenizer_options import TokenizerChoice, TrainedOptions
from pretrain.errors import UserError
from pretrain.exchange.source import check_same, saved_shape
from pretrain.files import replace

PARENT = "parent"  # the file of a run folder that says what it branched from


def with_tokenizer(config: Config, origin: Checkpoint | None) -> Config:
    """The config of a branch with the tokenizer of its trunk: one trained anew on other sources is another.

    A config that names a tokenizer itself, and a run that is no branch, stay as they are.
    """
    wanted = origin.state.get("fingerprint", {}).get("tokenizer") if origin else None
    if config.run.branch_from is None or config.data.tokenizer.kind != "sentencepiece" or wanted is None:
        return config
    assert origin is not None
    saved = origin.state["config"]["data"]
    theirs = TypeAdapter(TokenizerChoice).validate_python(saved["tokenizer"])
    if theirs.kind == "sentencepiece" and theirs != config.data.tokenizer:
        return config  # it asks for another one, and will be told that it cannot be
    for root in (config.data.root, saved["root"]):
        if folder := find_folder(Path(root).expanduser(), wanted):
            tokenizer = TrainedOptions(kind="trained", path=str(folder))
            return config.model_copy(update={"data": config.data.model_copy(update={"tokenizer": tokenizer})})
    return config


def check_branch(
    origin: Checkpoint, derived: Derived, shape: ModelShape, fingerprint: Mapping[str, str]
) -> None:
    """UserError where model, tokenizer or a source that is read on are not those of the checkpoint."""
    saved = origin.state.get("fingerprint", {})
    changed = [
        f"{name}: was {saved.get(name, 'absent')[:12]}, is {fingerprint.get(name, 'absent')[:12]}"
        for name in ("tokenizer", *(f"{source}.train" for source in sorted(_read_on(derived))))
        if saved.get(name) != fingerprint.get(name)
    ]
    if changed:
        raise UserError(
            f"run.branch_from: {origin.folder} was trained on other data (sha256):\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nA source that is read on has to be the same; give another one another name in data.sources."
        )
    check_same(origin, saved_shape(origin), shape, "run.branch_from")


def _read_on(derived: Derived) -> set[str]:
    """Sources that were read before the branch and are read behind it."""
    behind = {name for stage in derived.past.stages for name in stage.mix}
    return behind & {name for stage in derived.stages_ahead for name in stage.mix}


def write_parent(run_folder: Path, origin: Checkpoint) -> None:
    """Note beside the run what it branched from."""
    replace(run_folder / PARENT, json.dumps(parent_of(origin), indent=1) + "\n")


def parent_of(origin: Checkpoint) -> dict[str, Any]:
    """Run, step, tokens and hash of the checkpoint that a run branched from."""
    folder = origin.folder.absolute()
    return {
        "run": str(folder.parent.parent if folder.parent.name == "checkpoints" else folder),
        "checkpoint": str(folder),
        "step": origin.position.step,
        "tokens": origin.position.tokens,
        "sha256": origin.state[SEAL],
    }


def say_branch(origin: Checkpoint, config: Config, derived: Derived, say: Callable[[str], None]) -> None:
    """Tell people where a branch begins, and what of it might surprise them."""
    position = origin.position
    ahead = ", ".join(f"{stage.name} to {stage.end.tokens:,}" for stage in derived.stages_ahead)
    say(f"Branching from {origin.folder} after step {position.step}, {position.tokens:,} tokens: {ahead}.")
    seed = origin.state["config"]["run"]["seed"]
    if seed != config.run.seed:
        say(
            f"run.seed is {config.run.seed}, and was {seed} there: sources go on in another order, so that "
            "some of their text is read again and some later."
        )
