"""A run that branches goes on from a checkpoint: what that says of the updates behind it. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pretrain.checkpoint.find import checkpoint_at
from pretrain.checkpoint.load import Checkpoint, newest_readable
from pretrain.config.combinations import undivided
from pretrain.config.derive import Derived, derive
from pretrain.config.history import Past
from pretrain.config.load import parse_config
from pretrain.config.schema import Config
from pretrain.errors import UserError

PAST = "past"  # the key of a checkpoint's state that says what its run branched from
_ADAPTER = TypeAdapter(Past)


def derived_of(config: Config) -> Derived:
    """What follows from a config and, where the run branches, from the checkpoint that it goes on from.

    Raises UserError where the two do not fit, or where there is no such checkpoint.
    """
    past = past_of(config)
    try:
        derived = derive(config, past)
    except ValueError as error:
        raise UserError(f"behind {config.run.branch_from}: {error}") from None
    for problem in undivided(derived):
        raise UserError(problem)
    return derived


def past_of(config: Config) -> Past | None:
    """What lies behind a run's first update; None where that is nothing of its own.

    Once the run has a checkpoint it keeps its past itself, and needs the other run no more.
    """
    if config.run.branch_from is None:
        return None
    own = newest_readable(config.run.folder / "checkpoints")
    return saved_past(own) if own else branch_point(branched_from(config.run.branch_from))


def branched_from(branch_from: str) -> Checkpoint:
    """The checkpoint that `run.branch_from` names."""
    try:
        return checkpoint_at(Path(branch_from).expanduser())
    except UserError as error:
        raise UserError(f"run.branch_from: {error}") from None


def branch_point(checkpoint: Checkpoint) -> Past:
    """The past of a run that goes on from a checkpoint; UserError where it holds no more than weights."""
    if not any(name.startswith("exp_avg_sq") for name in checkpoint.files):
        raise UserError(
            f"run.branch_from: {checkpoint.folder} holds weights and no moments; "
            "run.init_from begins with weights."
        )
    position = checkpoint.position
    past = derive(_without_schedule(checkpoint), saved_past(checkpoint)).until(position.step)
    found = (past.here.step, past.here.tokens, past.here.sequence)
    if found != (position.step, position.tokens, position.sequence):
        raise UserError(
            f"{checkpoint.folder}: stands at (step, tokens, sequence) = "
            f"{(position.step, position.tokens, position.sequence)}, where its config would be at {found}."
        )
    return past


def saved_config(checkpoint: Checkpoint) -> Config:
    """The config of the run that wrote a checkpoint."""
    return _parsed(checkpoint, checkpoint.state.get("config", {}))


def _parsed(checkpoint: Checkpoint, sections: Any) -> Config:
    try:
        return parse_config(sections)
    except ValidationError as error:
        raise UserError(f"{checkpoint.folder}: its config is not one of this version's ({error}).") from None
    except UserError as error:
        raise UserError(f"{checkpoint.folder}: its config cannot be read again: {error}") from None


def _without_schedule(checkpoint: Checkpoint) -> Config:
    """The config of the run that wrote a checkpoint, as far as its batches and stages follow from it.

    Its learning rate is of no account behind a branch, and one of somebody's own may be gone; but seesaw's
    batches follow from it.
    """
    sections = checkpoint.state.get("config", {})
    try:
        if sections["batch"]["schedule"]["name"] == "seesaw":
            return saved_config(checkpoint)
    except (KeyError, TypeError):  # older than batch schedules, or damaged, which is said below
        pass
    plain = {"name": "constant", "lr_max": 1.0}
    return _parsed(checkpoint, {**sections, "schedule": plain})


def saved_past(checkpoint: Checkpoint) -> Past | None:
    """What the run that wrote a checkpoint branched from, if it did."""
    found: Any = checkpoint.state.get(PAST)
    return None if found is None else _ADAPTER.validate_python(found)


def as_json(past: Past) -> Any:
    """A past as plain values that `saved_past` reads."""
    return _ADAPTER.dump_python(past, mode="json")
