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
from pretrain.communication import Exchange, communication
from pretrain.config.derive import Derived, check_shares, model_shape, passes
from pretrain.config.history import StagePlan
from pretrain.config.past import derived_of
from pretrain.memory import Memory, memory
from pretrain.planning.disk import Checkpoints, checkpoints
from pretrain.planning.fits import Row, rows
from pretrain.planning.machine import Machine, machine_for
from pretrain.planning.rules.all import warnings
from pretrain.planning.rules.subject import Subject
from pretrain.planning.speed import Time, pace_of, time_of
from pretrain.planning.text import Need, needs

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
    communication: tuple[Exchange, ...]  # of one update
    machine: Machine
    time: Time | None  # None: the speed of the machine is not known
    fits: tuple[Row, ...]  # ways to cut the run, the config's own among them
    checkpoints: Checkpoints
    data: tuple[Need, ...]

    @property
    def own(self) -> Row:
        """The run as the config cuts it."""
        return next(row for row in self.fits if row.own)

    @property
    def best(self) -> Row | None:
        """The way to cut it that should be fastest; None where nothing is known to fit."""
        return next((row for row in self.fits if row.best), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names that scripts rely on."""
        return asdict(self) | {
            "lr": [list(point) for point in self.lr],
            "memory": _in_bytes(self.memory) | {"num_ranks": self.num_ranks},
        }


def plan(config: Config, num_ranks: int = 1, machine: Machine | None = None) -> Plan:
    """The plan of a run on `num_ranks` ranks; UserError where the batch cannot be divided among them.

    `machine`: what one rank computes on; None: what `machine_for` assumes.
    """
    derived, shape = derived_of(config), model_shape(config)
    check_shares(derived, num_ranks)
    machine = machine or machine_for(config)
    batches, stages = derived.segments_ahead, derived.stages_ahead
    micro_steps = passes(batches[0].sequences, stages[0].micro_sequences, num_ranks)
    subject = _subject(config, derived, shape, num_ranks, machine)
    return Plan(
        name=config.run.name,
        parameters=subject.counts,
        groups=_groups(config, shape),
        tokens=derived.tokens,
        steps=derived.steps,
        batch_tokens=batches[0].batch_tokens,
        micro_steps=micro_steps,
        batches=batches,
        first_tokens=derived.first_tokens,
        stages=stages,
        asked_tokens=tuple(stage.tokens for stage in config.stages[-len(stages) :]),
        flops_per_token=flops_per_token(shape, batches[0].sequence_length),
        flops=_flops(derived, shape),
        lr=lr_points(derived),
        warnings=(*advice(config, derived), *warnings(subject)),
        num_ranks=num_ranks,
        memory=memory(config, shape, num_ranks),
        communication=communication(config, shape, num_ranks, micro_steps),
        machine=machine,
        time=subject.time,
        fits=subject.rows,
        checkpoints=subject.checkpoints,
        data=needs(stages, shape.vocab_size),
    )


def _subject(
    config: Config, derived: Derived, shape: ModelShape, num_ranks: int, machine: Machine
) -> Subject:
    """What the rules look at."""
    counts = count(shape)
    pass_tokens = derived.stages_ahead[0].micro_sequences * derived.segments_ahead[0].sequence_length
    time = time_of(
        machine,
        precision=config.run.precision,
        flops=_flops(derived, shape),
        tokens=derived.tokens - derived.first_tokens,
        steps=derived.steps - derived.first_step,
        num_ranks=num_ranks,
        pace=pace_of(config, shape, pass_tokens),
        active=counts.active,
    )
    each = None if time is None else time.seconds_per_update
    return Subject(
        config=config,
        derived=derived,
        shape=shape,
        counts=counts,
        num_ranks=num_ranks,
        machine=machine,
        time=time,
        rows=rows(config, derived, shape, num_ranks, machine),
        checkpoints=checkpoints(config.checkpoint, counts.total, derived.first_step, derived.steps, each),
    )


def _flops(derived: Derived, shape: ModelShape) -> int:
    """Of all updates ahead."""
    return sum(
        part.steps * part.batch_tokens * flops_per_token(shape, part.sequence_length)
        for part in derived.segments_ahead
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
