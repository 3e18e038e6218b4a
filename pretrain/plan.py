"""What a run will be, before anything is paid for; loads no torch and allocates no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from megatron_lite.model.parameters import Counts, count, flops_per_token, parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.groups import groups
from megatron_lite.schedules.timeline import Segment
from pretrain.advice import advice
from pretrain.config.derive import Derived, check_shares, model_shape, passes
from pretrain.config.history import StagePlan
from pretrain.config.past import derived_of
from pretrain.memory import Memory, memory

if TYPE_CHECKING:
    from pretrain.config.schema import Config

NUM_POINTS = 20


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """An optimizer group and how much is in it."""

    name: str
    lr_ratio: float
    weight_decay: float
    parameters: int
    tensors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a run that its config decides."""

    name: str
    parameters: Counts
    groups: tuple[GroupPlan, ...]
    tokens: int
    steps: int
    batch_tokens: int
    micro_steps: int
    batches: tuple[Segment, ...]  # ahead: updates with one batch after the other
    first_tokens: int  # before the first update: another run's, where this one branches from it
    stages: tuple[StagePlan, ...]  # ahead
    asked_tokens: tuple[int, ...]  # of each stage, before rounding up to whole batches
    flops_per_token: int
    flops: int  # of all updates ahead
    lr: tuple[tuple[int, float], ...]  # tokens, learning rate
    warnings: tuple[str, ...]
    num_ranks: int
    memory: Memory  # of one rank

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names that scripts rely on."""
        return asdict(self) | {
            "lr": [list(point) for point in self.lr],
            "memory": _in_bytes(self.memory) | {"num_ranks": self.num_ranks},
        }


def plan(config: Config, num_ranks: int = 1) -> Plan:
    """The plan of a run on `num_ranks` ranks; UserError where the batch cannot be divided among them."""
    derived, shape = derived_of(config), model_shape(config)
    check_shares(derived, num_ranks)
    batches, stages = derived.segments_ahead, derived.stages_ahead
    return Plan(
        name=config.run.name,
        parameters=count(shape),
        groups=_groups(config, shape),
        tokens=derived.tokens,
        steps=derived.steps,
        batch_tokens=batches[0].batch_tokens,
        micro_steps=passes(batches[0].sequences, stages[0].micro_sequences, num_ranks),
        batches=batches,
        first_tokens=derived.first_tokens,
        stages=stages,
        asked_tokens=tuple(stage.tokens for stage in config.stages[-len(stages) :]),
        flops_per_token=flops_per_token(shape, batches[0].sequence_length),
        flops=sum(
            part.steps * part.batch_tokens * flops_per_token(shape, part.sequence_length) for part in batches
        ),
        lr=lr_points(derived),
        warnings=tuple(advice(config, derived)),
        num_ranks=num_ranks,
        memory=memory(config, shape, num_ranks),
    )


def lr_points(derived: Derived, num_points: int = NUM_POINTS) -> tuple[tuple[int, float], ...]:
    """The learning rate at evenly spaced token counts, from the first token to the last."""
    first, length = derived.first_tokens, derived.tokens - derived.first_tokens
    spaced = (first + index * length // (num_points - 1) for index in range(num_points))
    return tuple((tokens, derived.lr(tokens)) for tokens in spaced)


def _groups(config: Config, shape: ModelShape) -> tuple[GroupPlan, ...]:
    sizes: Mapping[str, int] = {parameter.name: parameter.size for parameter in parameters(shape)}
    return tuple(
        GroupPlan(
            name=group.name,
            lr_ratio=group.lr_ratio,
            weight_decay=group.weight_decay,
            parameters=sum(sizes[name] for name in group.parameters),
            tensors=group.parameters,
        )
        for group in groups(shape, config.mup, config.optimizer.weight_decay)
    )


def _in_bytes(parts: Memory) -> dict[str, int]:
    return {f"{name}_bytes": value for name, value in asdict(parts).items()} | {"total_bytes": parts.total}
