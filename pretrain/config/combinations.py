"""Combinations of options that are impossible though each is allowed: one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pretrain.config.derive import derive, nearest_multiples
from pretrain.errors import nearest

if TYPE_CHECKING:
    from pretrain.config.schema import Config


def impossible(config: Config) -> Iterator[str]:
    """Every impossible combination in a config whose values are all allowed, with what to do."""
    yield from _mixes(config)
    yield from _lengths(config)
    yield from _precision(config)
    try:
        derive(config)
    except ValueError as error:
        yield f"schedule: {error}"


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
    batch, longest = config.batch, config.model.max_position_embeddings
    if batch.sequence_length > longest:
        yield (
            f"batch.sequence_length: {batch.sequence_length} is more than "
            f"model.max_position_embeddings={longest}; shorten the one or raise the other"
        )
    if batch.sequences % batch.micro_sequences:
        yield (
            f"batch.sequences: {batch.sequences} is not a multiple of batch.micro_sequences="
            f"{batch.micro_sequences}; {nearest_multiples(batch.sequences, batch.micro_sequences)} would be"
        )


def _precision(config: Config) -> Iterator[str]:
    stage = config.deepspeed.zero_optimization.stage
    if config.run.engine == "deepspeed" and config.run.precision == "bf16" and stage == 0:
        yield (
            "deepspeed.zero_optimization.stage: 0 has no fp32 master weights for run.precision=bf16; "
            "use stage 1 (on one rank it shards nothing), or run.precision=fp32"
        )
