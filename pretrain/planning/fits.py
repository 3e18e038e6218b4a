"""What a rank needs under every ZeRO stage, micro-batch and checkpointing, and which of them is best.

Best is the least time of an update among those that fit: the forward and backward passes at the MFU to
expect, and what is sent as if nothing hid it; of equals the least memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from megatron_lite.kernels.options import Checkpointing
from megatron_lite.model.parameters import flops_per_token
from megatron_lite.model.shape import ModelShape
from pretrain.communication import communication
from pretrain.config.derive import Derived
from pretrain.memory import memory
from pretrain.planning.machine import Machine
from pretrain.planning.speed import pace_of

if TYPE_CHECKING:
    from pretrain.config.schema import Config

STAGES = (1, 2, 3)
MICRO_SEQUENCES = (1, 2, 4, 8, 16, 32)
ONE_MACHINE = 8  # ranks, beyond which a network carries what is sent
NETWORK_BYTES = 40e9  # a second and GPU: a 400 Gb/s adapter each, less what it loses
LINK_SHARE = 0.5  # of a data sheet's links that collectives reach
UNKNOWN_FLOPS = 1e14  # a second, where no GPU is named
EQUAL = 1.005  # times that differ by less are the same


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    """What the ranks compute on."""

    num_ranks: int
    peak_flops: float
    link_bytes: float  # a second and GPU
    usable_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to cut a run: what it needs of a rank, and the overrides that ask for it."""

    engine: str
    zero_stage: int
    checkpointing: Checkpointing
    micro_sequences: int
    micro_steps: int
    memory_bytes: int
    fits: bool | None  # None: the memory of the machine is not known
    sent_bytes: int  # by a rank in an update
    seconds: float  # of an update, on this estimate; only their order means something without a known GPU
    own: bool  # as the config has it
    best: bool
    overrides: tuple[str, ...]


def rows(
    config: Config, derived: Derived, shape: ModelShape, num_ranks: int, machine: Machine
) -> tuple[Row, ...]:
    """Every way that these ranks can share the batches, by stage, checkpointing and micro-batch."""
    cluster = _Cluster(
        num_ranks=num_ranks,
        peak_flops=machine.gpu.peak(config.run.precision) if machine.gpu else UNKNOWN_FLOPS,
        link_bytes=link_bytes(machine, num_ranks),
        usable_bytes=machine.usable_bytes,
    )
    ways = _ways(config, derived, num_ranks)
    found = [_row(config, changed, derived, shape, cluster) for changed in ways]
    fitting = [row for row in found if row.fits]
    if not fitting:
        return tuple(found)
    fastest = min(row.seconds for row in fitting)
    best = min(
        (row for row in fitting if row.seconds <= EQUAL * fastest),
        key=lambda row: (not row.own, row.memory_bytes),
    )
    return tuple(replace(row, best=row is best) for row in found)


def link_bytes(machine: Machine, num_ranks: int) -> float:
    """What a GPU may send in a second: within its machine, or through a fast network."""
    if num_ranks > ONE_MACHINE or machine.gpu is None:
        return NETWORK_BYTES
    return LINK_SHARE * machine.gpu.link_bytes


def _ways(config: Config, derived: Derived, num_ranks: int) -> Iterator[Config]:
    """The config's own engine and stage, and those of DeepSpeed that shard."""
    own = _engine(config)
    engines = sorted({own, *(("deepspeed", stage) for stage in STAGES)})
    own_size = _micro_sequences(config, derived)
    for engine, stage in engines:
        for checkpointing in get_args(Checkpointing):
            for size in sorted({*MICRO_SEQUENCES, own_size}):
                if (engine, stage) == own and size == own_size:
                    yield _with_checkpointing(config, checkpointing)
                elif _divides(derived, size * num_ranks):
                    yield _with_micro(
                        _with_stage(_with_checkpointing(config, checkpointing), engine, stage), size
                    )


def _row(config: Config, changed: Config, derived: Derived, shape: ModelShape, cluster: _Cluster) -> Row:
    micro, num_ranks = _micro_sequences(changed, derived), cluster.num_ranks
    passes = max(1, derived.segments_ahead[0].sequences // (micro * num_ranks))
    needed = memory(changed, shape, num_ranks).total
    exchanges = communication(changed, shape, num_ranks, passes)
    sent = sum(exchange.sent_bytes(num_ranks) for exchange in exchanges)
    engine, stage = _engine(changed)
    overrides = tuple(_overrides(config, changed))
    return Row(
        engine=engine,
        zero_stage=stage,
        checkpointing=changed.kernels.activation_checkpointing,
        micro_sequences=micro,
        micro_steps=passes,
        memory_bytes=needed,
        fits=None if cluster.usable_bytes is None else needed <= cluster.usable_bytes,
        sent_bytes=sent,
        seconds=_seconds(changed, derived, shape, cluster) + sent / cluster.link_bytes,
        own=not overrides,
        best=False,
        overrides=overrides,
    )


def _seconds(changed: Config, derived: Derived, shape: ModelShape, cluster: _Cluster) -> float:
    """Of the passes of an update."""
    first = derived.segments_ahead[0]
    pass_tokens = _micro_sequences(changed, derived) * first.sequence_length
    mfu = pace_of(changed, shape, pass_tokens).mfu
    flops = first.batch_tokens * flops_per_token(shape, first.sequence_length)
    return flops / (cluster.num_ranks * cluster.peak_flops * mfu)


def _micro_sequences(config: Config, derived: Derived) -> int:
    """Of the first stage that is still to be trained."""
    return config.stages[-len(derived.stages_ahead)].micro_sequences or config.batch.micro_sequences


def _engine(config: Config) -> tuple[str, int]:
    stage = config.deepspeed.zero_optimization.stage
    return config.run.engine, stage if config.run.engine == "deepspeed" else 0


def _divides(derived: Derived, share: int) -> bool:
    return all(segment.sequences % share == 0 for segment in derived.segments_ahead)


def _with_checkpointing(config: Config, checkpointing: Checkpointing) -> Config:
    kernels = config.kernels.model_copy(update={"activation_checkpointing": checkpointing})
    return config.model_copy(update={"kernels": kernels})


def _with_stage(config: Config, engine: str, stage: int) -> Config:
    zero = config.deepspeed.zero_optimization.model_copy(update={"stage": stage})
    section = config.deepspeed.model_copy(update={"zero_optimization": zero})
    run = config.run.model_copy(update={"engine": engine})
    return config.model_copy(update={"deepspeed": section, "run": run})


def _with_micro(config: Config, size: int) -> Config:
    """Also in the stages that have a micro-batch of their own."""
    batch = config.batch.model_copy(update={"micro_sequences": size})
    stages = tuple(
        stage.model_copy(update={"micro_sequences": size}) if stage.micro_sequences else stage
        for stage in config.stages
    )
    return config.model_copy(update={"batch": batch, "stages": stages})


def _overrides(config: Config, changed: Config) -> Iterator[str]:
    """What to write behind the config's name so that it becomes `changed`."""
    if changed.run.engine != config.run.engine:
        yield f"run.engine={changed.run.engine}"
    stage = changed.deepspeed.zero_optimization.stage
    if _engine(changed) != _engine(config) and changed.run.engine == "deepspeed":
        yield f"deepspeed.zero_optimization.stage={stage}"
    if changed.batch.micro_sequences != config.batch.micro_sequences:
        yield f"batch.micro_sequences={changed.batch.micro_sequences}"
    for index, (old, new) in enumerate(zip(config.stages, changed.stages, strict=True)):
        if new.micro_sequences != old.micro_sequences:
            yield f"stages.{index}.micro_sequences={new.micro_sequences}"
    kept = changed.kernels.activation_checkpointing
    if kept != config.kernels.activation_checkpointing:
        yield f"kernels.activation_checkpointing={kept}"
