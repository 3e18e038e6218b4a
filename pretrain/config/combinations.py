"""Combinations of options that are impossible though each is allowed: one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from megatron_lite.schedules.timeline import Segment
from pretrain.config.derive import Derived, derive, nearest_multiples
from pretrain.errors import nearest

if TYPE_CHECKING:
    from pretrain.config.schema import Config


def impossible(config: Config) -> Iterator[str]:
    """Every impossible combination in a config whose values are all allowed, with what to do."""
    yield from _mixes(config)
    yield from _lengths(config)
    yield from _precision(config)
    yield from _beginning(config)
    try:
        config.batch.schedule.check(config.batch.sequences)
    except ValueError as error:
        yield f"batch.schedule: {error}"
    if config.run.branch_from is None:  # or else what is ahead depends on what the checkpoint says
        yield from _updates(config)


def _updates(config: Config) -> Iterator[str]:
    try:
        derived = derive(config)
    except ValueError as error:
        yield str(error)
        return
    yield from undivided(derived)


def undivided(derived: Derived) -> Iterator[str]:
    """The first batch ahead that is not a whole number of forward passes."""
    for segment in derived.timeline.segments:
        micro_sequences = derived.stage_at(segment.first_step).micro_sequences
        if segment.first_step >= derived.first_step and segment.sequences % micro_sequences:
            yield (
                f"batch.sequences: {segment.sequences}{_when(segment)} is not a multiple of "
                f"batch.micro_sequences={micro_sequences}; "
                f"{nearest_multiples(segment.sequences, micro_sequences)} would be"
            )
            return


def _when(segment: Segment) -> str:
    return f" (from {segment.first_tokens} tokens on)" if segment.first_tokens else ""


def _beginning(config: Config) -> Iterator[str]:
    run = config.run
    if run.init_from is not None and run.branch_from is not None:
        yield (
            "run.init_from: a run goes on from one checkpoint; leave out run.init_from (weights only) or "
            "run.branch_from (moments and tokens as well)"
        )
    if run.init_tokens and run.init_from is None:
        yield f"run.init_tokens: {run.init_tokens} tokens of no weights; name them in run.init_from"


def _mixes(config: Config) -> Iterator[str]:
    sources = list(config.data.sources)
    for index, stage in enumerate(config.stages):
        for name in stage.mix:
            if name not in sources:
                known = f"data.sources has {', '.join(sources)}."
                yield f"stages.{index}.mix.{name}: no such source; {known}{nearest(name, sources)}"
    for name, times in Counter(stage.name for stage in config.stages).items():
        if times > 1:
            yield f"stages: {times} stages are named '{name}'; each needs a name of its own"


def _lengths(config: Config) -> Iterator[str]:
    lengths = {"batch.sequence_length": config.batch.sequence_length}
    for index, stage in enumerate(config.stages):
        lengths[f"stages.{index}.sequence_length"] = stage.sequence_length or 0
    longest = config.model.max_position_embeddings
    for key, length in lengths.items():
        if length > longest:
            yield (
                f"{key}: {length} is more than model.max_position_embeddings={longest}; "
                "shorten the one or raise the other"
            )


def _precision(config: Config) -> Iterator[str]:
    stage = config.deepspeed.zero_optimization.stage
    if config.run.engine == "deepspeed" and config.run.precision == "bf16" and stage == 0:
        yield (
            "deepspeed.zero_optimization.stage: 0 has no fp32 master weights for run.precision=bf16; "
            "use stage 1 (on one rank it shards nothing), or run.precision=fp32"
        )
