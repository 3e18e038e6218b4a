"""Build what a run trains: the decoder, the engine around it, and its first or saved state, audited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from megatron_lite.kernels.choice import Choice, Kernels, choose
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import Group, groups
from megatron_lite.mup.initial import initial_weight
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.rules import rule
from pretrain.checkpoint.load import Checkpoint
from pretrain.config.derive import micro_steps
from pretrain.config.schema import Config
from pretrain.engine.base import Engine, Kind, StateReader
from pretrain.errors import UserError
from pretrain.exchange.source import starting_point, weights_of
from pretrain.machine import same_bits
from pretrain.ranks import Ranks

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def kernel_choice(config: Config, device: torch.device) -> Choice:
    """The kernels of a run on `device`; UserError where the config asks for what is not there."""
    sharded = config.run.engine == "deepspeed" and config.deepspeed.zero_optimization.stage == 3
    try:
        return choose(config.kernels, device, DTYPES[config.run.precision], weights_sharded=sharded)
    except ValueError as error:
        raise UserError(str(error)) from None


def build_model(
    shape: ModelShape, precision: str, device: torch.device, kernels: Kernels | None = None
) -> Decoder:
    """A decoder on `device` whose weights are not yet set."""
    with _default_dtype(DTYPES[precision]), device:
        return Decoder(shape, kernels)


def build_engine(
    config: Config, shape: ModelShape, ranks: Ranks, device: torch.device, *, first_passes: int | None = None
) -> Engine:
    """The engine that the config names, around an unset model. The process group must exist.

    `first_passes`: forward passes of each rank for the first update; absent: those of `batch.sequences`.
    """
    if config.kernels.deterministic and device.type == "cuda":
        same_bits()
    model = build_model(shape, config.run.precision, device, kernel_choice(config, device).kernels)
    expected = expected_groups(config, shape)
    if config.run.engine == "torch":
        from pretrain.engine.torch_engine import TorchEngine

        return TorchEngine(model, expected, config.optimizer)
    from pretrain.engine.deepspeed_config import deepspeed_config
    from pretrain.engine.deepspeed_engine import DeepSpeedEngine

    json_config = deepspeed_config(
        config.deepspeed,
        batch=config.batch,
        optimizer=config.optimizer,
        precision=config.run.precision,
        micro_steps=first_passes or micro_steps(config.batch, ranks.size),
        num_ranks=ranks.size,
    )
    return DeepSpeedEngine(model, expected, config.optimizer, json_config, ranks.local_rank)


def set_state(engine: Engine, config: Config, shape: ModelShape, checkpoint: Checkpoint | None) -> None:
    """Give the engine its first state, or a checkpoint's, and audit its groups before and after."""
    expected = expected_groups(config, shape)
    audit(expected, engine.groups())
    if checkpoint is None:
        engine.load(first_state(config, shape), updates=0)
    else:
        engine.load(checkpoint.tensor, updates=checkpoint.position.updates)
    audit(expected, engine.groups())


def expected_groups(config: Config, shape: ModelShape) -> tuple[Group, ...]:
    """The groups that the rules ask for."""
    return groups(shape, config.mup, config.optimizer.weight_decay)


def first_state(config: Config, shape: ModelShape) -> StateReader:
    """The state before the first update, with the weights of `run.init_from` where the config names it.

    UserError where those are another model's.
    """
    if config.run.init_from is None:
        return initial_state(shape, config.mup, config.run.seed)
    source = starting_point(config.run.init_from, verify=False)  # verified when the folder was claimed
    return weights_of(source, shape)


def initial_state(shape: ModelShape, mup: MupOptions, seed: int) -> StateReader:
    """The state before the first update: weights from the seed and the rules, moments zero."""
    by_name = {parameter.name: parameter for parameter in parameters(shape)}

    def read(kind: Kind, name: str) -> Tensor:
        parameter = by_name[name]
        if kind != "weight":
            return torch.zeros(parameter.shape)
        # decay has no part in the first weights
        return initial_weight(parameter, rule(parameter.role, mup=mup, shape=shape, weight_decay=0.0), seed)

    return read


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
