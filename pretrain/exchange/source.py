"""Weights in our format as the beginning of something else: found, verified, compared with a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions
from pretrain.checkpoint.find import checkpoint_at
from pretrain.checkpoint.format import SEAL
from pretrain.checkpoint.load import Checkpoint
from pretrain.engine.base import Kind, StateReader
from pretrain.errors import UserError
from pretrain.exchange.keys import KEYS

CHANGEABLE = ("max_positions", "rope_theta")  # what runs that go on with longer sequences change on purpose


@dataclass(frozen=True, kw_only=True)
class Source:
    """Weights in our format, and what is known about them."""

    checkpoint: Checkpoint  # of which only the weights can be read
    shape: ModelShape

    @property
    def run_folder(self) -> Path | None:
        """The folder of the run that wrote them."""
        checkpoints = self.checkpoint.folder.absolute().parent
        return checkpoints.parent if checkpoints.name == "checkpoints" else None

    @property
    def config(self) -> dict[str, Any]:
        """The config of the run, or only a `model` section."""
        return self.checkpoint.state["config"]


def find_source(path: Path, *, verify: bool = True) -> Source:
    """The weights at `path`; UserError with advice where there are none, or where a file is damaged."""
    checkpoint = checkpoint_at(path)
    # moments are three quarters of the bytes: without them verify() hashes only what is read
    checkpoint.files = {name: entry for name, entry in checkpoint.files.items() if name.startswith("weight-")}
    if verify:
        checkpoint.verify()
    return Source(checkpoint=checkpoint, shape=saved_shape(checkpoint))


def starting_point(init_from: str, *, verify: bool) -> Source:
    """The weights that `run.init_from` names."""
    try:
        return find_source(Path(init_from).expanduser(), verify=verify)
    except UserError as error:
        raise UserError(f"run.init_from: {error}") from None


def weights_of(source: Source, shape: ModelShape) -> StateReader:
    """The state of a run of this shape that begins with these weights: moments are zero.

    UserError that lists each field or parameter in which the two models differ.
    """
    check_same(source.checkpoint, source.shape, shape, "run.init_from")
    shapes = {parameter.name: parameter.shape for parameter in parameters(shape)}

    def read(kind: Kind, name: str) -> Tensor:
        return source.checkpoint.tensor("weight", name) if kind == "weight" else torch.zeros(shapes[name])

    return read


def begun_with(init_from: str, shape: ModelShape, *, say: Callable[[str], None]) -> dict[str, Any]:
    """What a run of this shape says and records of the weights that it begins with."""
    source = starting_point(init_from, verify=False)
    pairs = {KEYS[field]: [getattr(source.shape, field), getattr(shape, field)] for field in CHANGEABLE}
    changed = {key: values for key, values in pairs.items() if values[0] != values[1]}
    say(f"Beginning with the weights of {source.checkpoint.folder}.")
    for key, (there, here) in changed.items():
        say(f"model.{key} is {here}, and was {there} there.")
    return {
        "checkpoint": str(source.checkpoint.folder.absolute()),
        "sha256": source.checkpoint.state[SEAL],
        "step": source.checkpoint.position.step,
        "tokens": source.checkpoint.position.tokens,
        "changed": changed,
    }


def saved_shape(checkpoint: Checkpoint) -> ModelShape:
    """The shape of the model in a checkpoint; UserError where its config is not one of this version's."""
    try:
        config = checkpoint.state["config"]
        model = ModelOptions.model_validate(config["model"])
        mup = MupOptions.model_validate(config.get("mup", {}))
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise UserError(f"{checkpoint.folder}: its config has no model of this version ({error}).") from None
    # a vocabulary that the config leaves out is the tokenizer's, and so has the embedding's rows
    return resolve_shape(model, mup, model.vocab_size or len(checkpoint.tensor("weight", "embedding")))


def check_same(checkpoint: Checkpoint, there: ModelShape, here: ModelShape, key: str) -> None:
    """UserError, under the name of `key`, where the checkpoint's model is another than this config's."""
    theirs = {parameter.name: parameter.shape for parameter in parameters(there)}
    ours = {parameter.name: parameter.shape for parameter in parameters(here)}
    problems = [
        f"{name}: {_size(theirs.get(name))} there, {_size(ours.get(name))} in this config"
        for name in [*ours, *(name for name in theirs if name not in ours)]
        if theirs.get(name) != ours.get(name)
    ]
    if not problems:  # the same tensors, but is it the same function of them?
        problems = [
            f"model.{name}: {getattr(there, field)} there, {getattr(here, field)} in this config"
            for field, name in KEYS.items()
            if field not in CHANGEABLE and getattr(there, field) != getattr(here, field)
        ]
    if problems:
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UserError(
            f"{key}: {checkpoint.folder} holds another model:\n  "
            + "\n  ".join(problems[:8])
            + more
            + "\nThe `model` section has to be the checkpoint's; `pretrain import` prints it."
        )


def _size(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else " x ".join(map(str, shape))
