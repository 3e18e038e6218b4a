"""What follows from a config before anything is built: steps, stages and the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.schedules.base import LearningRate
from megatron_lite.schedules.batch import BatchOptions, ConstantBatch
from pretrain.errors import UserError

if TYPE_CHECKING:  # the schema asks this file whether a config is possible
    from pretrain.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage in whole updates."""

    name: str
    first_step: int  # counted from 0
    steps: int
    tokens: int  # after rounding up to whole global batches
    mix: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Derived:
    """The run in updates and tokens. Update k, counted from 0, is made with `lr(k * batch_tokens)`."""

    stages: tuple[StagePlan, ...]
    batch: ConstantBatch
    steps: int
    tokens: int
    lr: LearningRate


def derive(config: Config) -> Derived:
    """Stages rounded up to whole batches and the schedule bound to their sum; ValueError if it cannot be."""
    batch_tokens = config.batch.tokens
    stages: list[StagePlan] = []
    steps = 0
    for stage in config.stages:
        stage_steps = -(-stage.tokens // batch_tokens)
        tokens = stage_steps * batch_tokens
        stages.append(
            StagePlan(
                name=stage.name, first_step=steps, steps=stage_steps, tokens=tokens, mix=dict(stage.mix)
            )
        )
        steps += stage_steps
    batch, total_tokens = ConstantBatch(batch_tokens=batch_tokens), steps * batch_tokens
    return Derived(
        stages=tuple(stages),
        batch=batch,
        steps=steps,
        tokens=total_tokens,
        lr=config.schedule.bind(batch=batch, total_tokens=total_tokens),
    )


def model_shape(config: Config, vocab_size: int | None = None) -> ModelShape:
    """The decoder's shape; a vocabulary that the model section leaves out is the tokenizer's."""
    return resolve_shape(config.model, config.mup, vocab_size or config.data.tokenizer.vocab_size)


def micro_steps(batch: BatchOptions, num_ranks: int) -> int:
    """Forward passes that each rank makes for an update; UserError with the nearest batches that divide."""
    share = batch.micro_sequences * num_ranks
    if batch.sequences % share:
        raise UserError(
            f"batch.sequences: {batch.sequences} is not a multiple of batch.micro_sequences x ranks = "
            f"{batch.micro_sequences} x {num_ranks} = {share}; {nearest_multiples(batch.sequences, share)} "
            f"would be.{_smaller_micro(batch, num_ranks)}"
        )
    return batch.sequences // share


def nearest_multiples(number: int, unit: int) -> str:
    """`x or y`: the multiples of `unit` on both sides of `number`."""
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def _smaller_micro(batch: BatchOptions, num_ranks: int) -> str:
    """The largest micro_sequences that would do, where a batch of this size can be cut at all."""
    if batch.sequences % num_ranks:
        return ""
    per_rank = batch.sequences // num_ranks
    fitting = next(size for size in range(batch.micro_sequences, 0, -1) if per_rank % size == 0)
    return f" With {batch.sequences} sequences, batch.micro_sequences={fitting} would do."
