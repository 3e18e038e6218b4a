"""What an expert would point out in a config that is possible: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from megatron_lite.options import format_count
from megatron_lite.schedules.timeline import Segment
from pretrain.config.derive import Derived

if TYPE_CHECKING:
    from pretrain.config.schema import Config

MUCH_LONGER = 1.25  # times what the stages ask for


def advice(config: Config, derived: Derived) -> Iterator[str]:
    """Everything in a run that is worth a second look."""
    yield from _rising(config, derived)
    yield from _unreached(config, derived)
    yield from _lengths(derived)
    yield from _warmup(config, derived)
    yield from _rounding(config, derived)
    yield from _second_moment(config)


def rises(derived: Derived, warmup_tokens: int) -> Iterator[tuple[Segment, float, float]]:
    """Where the rate jumps up with the batch: the segment, the rate before and the rate from there on."""
    for before, segment in pairwise(derived.segments_ahead):
        last = derived.timeline.update(segment.first_step - 1).tokens
        old, new = derived.lr(last), derived.lr(segment.first_tokens)
        if last >= warmup_tokens and new > old and segment.batch_tokens > before.batch_tokens:
            yield segment, old, new


def _rising(config: Config, derived: Derived) -> Iterator[str]:
    found = list(rises(derived, config.schedule.warmup_tokens))
    if found and config.schedule.follows_batch:
        segment, old, new = max(found, key=lambda item: item[2] / item[1] if item[1] else 0)
        times = "once" if len(found) == 1 else f"{len(found)} times"
        yield (
            f"schedule: {config.schedule.name}'s rate follows the batch, and rises with it {times}, most at "
            f"{format_count(segment.first_tokens)} tokens from {old:.3g} to {new:.3g}; "
            "`pretrain lr --plot` shows it"
        )


def _unreached(config: Config, derived: Derived) -> Iterator[str]:
    largest = max(segment.sequences for segment in derived.segments_ahead)
    wanted = getattr(config.batch.schedule, "max_sequences", None)
    if wanted and largest < wanted and all(stage.sequences is None for stage in config.stages):
        yield f"batch.schedule.max_sequences: the run ends at {largest} sequences, before {wanted} is reached"


def _lengths(derived: Derived) -> Iterator[str]:
    by_source: dict[str, set[int]] = {}
    for stage in derived.stages:
        for name in stage.mix:
            by_source.setdefault(name, set()).add(stage.sequence_length)
    for name, lengths in by_source.items():
        if len(lengths) > 1:
            yield (
                f"stages: {name} is read in sequences of {', '.join(map(str, sorted(lengths)))} tokens; "
                "each length cuts its text anew, so that some of it is read again"
            )


def _warmup(config: Config, derived: Derived) -> Iterator[str]:
    warmup_tokens = config.schedule.warmup_tokens
    if warmup_tokens > derived.tokens:
        yield (
            f"schedule.warmup_tokens: the run ends at {format_count(derived.tokens)} tokens, in the middle "
            f"of a warm-up of {format_count(warmup_tokens)}; its rate never gets beyond "
            f"{derived.lr(derived.tokens):.3g}"
        )


def _rounding(config: Config, derived: Derived) -> Iterator[str]:
    asked = sum(stage.tokens for stage in config.stages[-len(derived.stages_ahead) :])
    trained = sum(stage.tokens for stage in derived.stages_ahead)
    if trained > MUCH_LONGER * asked:
        yield (
            f"stages: {format_count(asked)} tokens become {format_count(trained)}, since each stage is "
            "rounded up to whole global batches; a smaller batch comes closer"
        )


def _second_moment(config: Config) -> Iterator[str]:
    optimizer = config.optimizer
    usual = type(optimizer).model_fields["betas"].default[1]
    if optimizer.adam_beta2 is not None and optimizer.betas[1] != usual:
        yield f"optimizer.betas.1: {optimizer.betas[1]} has no part beside optimizer.adam_beta2; leave it out"
