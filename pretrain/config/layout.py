"""The stages of a run laid out in whole updates, behind what it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from megatron_lite.schedules.timeline import Point, Segment, stretch
from pretrain.config.batches import BatchOverTime, spans_of
from pretrain.config.history import Past, StagePlan

if TYPE_CHECKING:
    from pretrain.config.schema import Config
    from pretrain.data.options import Stage


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Stages and updates from the first token to the last; those of the past come first."""

    stages: tuple[StagePlan, ...]
    segments: tuple[Segment, ...]
    batch: BatchOverTime

    @property
    def tokens(self) -> int:
        """N: the sum of the stages, each rounded up to whole batches."""
        return self.segments[-1].end.tokens


def lay_out(config: Config, past: Past, scheduled: Callable[[int], int]) -> Layout:
    """Every stage in whole updates; ValueError where the stages do not go on from the past.

    `scheduled`: sequences in the batch at a number of tokens, for stages that have none of their own.

    Where the first stage has the name of the past's first, the config describes the whole run and its begun
    stages go on. Otherwise its stages come after the past.
    """
    behind, ahead = _divided(config, past)
    stages, segments, batches = list(behind), list(past.segments), list(past.batches)
    here = past.here
    for stage, begun in ahead:
        plan = begun or _first_plan(stage, config, here)
        new = tuple(_updates(stage, plan, here, scheduled))
        segments.extend(new)
        batches.extend(spans_of(stage, config, new))
        here = new[-1].end if new else here
        stages.append(plan.until(here))
    if here == past.here:
        raise ValueError(f"stages: nothing is left to train behind {here.tokens} tokens; make them longer")
    return Layout(
        stages=tuple(stages),
        segments=tuple(segments),
        batch=BatchOverTime(spans=tuple(batches)),
    )


def is_whole_run(config: Config, past: Past) -> bool:
    """Whether the config describes the past as well as what is ahead."""
    return bool(past.stages) and config.stages[0].name == past.stages[0].name


def _divided(
    config: Config, past: Past
) -> tuple[tuple[StagePlan, ...], list[tuple[Stage, StagePlan | None]]]:
    """The stages that are over, and those to train with what is trained of them."""
    if not is_whole_run(config, past):
        return past.stages, [(stage, None) for stage in config.stages]
    _check_begun(config, past)
    first, *others = config.stages[len(past.stages) - 1 :]
    begun = _goes_on(past.stages[-1], first, config)
    return past.stages[:-1], [(first, begun), *((stage, None) for stage in others)]


def _first_plan(stage: Stage, config: Config, here: Point) -> StagePlan:
    """A stage of which nothing is trained yet."""
    batch = config.batch
    return StagePlan(
        name=stage.name,
        mix=dict(stage.mix),
        sequence_length=stage.sequence_length or batch.sequence_length,
        micro_sequences=stage.micro_sequences or batch.micro_sequences,
        first_step=here.step,
        first_tokens=here.tokens,
        first_sequence=here.sequence,
        steps=0,
        tokens=0,
        num_sequences=0,
    )


def _goes_on(begun: StagePlan, stage: Stage, config: Config) -> StagePlan:
    """A stage of which something is trained; how its batches are cut may change."""
    return replace(begun, micro_sequences=stage.micro_sequences or config.batch.micro_sequences)


def _updates(
    stage: Stage, plan: StagePlan, here: Point, scheduled: Callable[[int], int]
) -> Iterator[Segment]:
    own = stage.sequences
    return stretch(
        here,
        tokens=stage.tokens - plan.tokens,
        sequences_at=scheduled if own is None else lambda tokens: own,
        sequence_length=plan.sequence_length,
    )


def _check_begun(config: Config, past: Past) -> None:
    """ValueError where the config would have trained another past."""
    rename = "; rename stages.0 if its stages should come after what is trained"
    if len(config.stages) < len(past.stages):
        names = ", ".join(stage.name for stage in past.stages)
        raise ValueError(f"stages: those begun, {names}, should all be there{rename}")
    for index, (trained, stage) in enumerate(zip(past.stages, config.stages, strict=False)):
        length = stage.sequence_length or config.batch.sequence_length
        for key, was, now in (
            ("name", trained.name, stage.name),
            ("mix", dict(trained.mix), dict(stage.mix)),
            ("sequence_length", trained.sequence_length, length),
        ):
            if was != now:
                raise ValueError(
                    f"stages.{index}.{key}: was {was!r}, is {now!r}, and the stage was begun{rename}"
                )
        _check_length(index, trained, stage, past)


def _check_length(index: int, trained: StagePlan, stage: Stage, past: Past) -> None:
    """A stage that was trained is as long as it was; the last one may be longer."""
    last_batch = [part for part in past.segments if part.first_step < trained.end.step][-1].batch_tokens
    is_last = index + 1 == len(past.stages)
    if stage.tokens <= trained.tokens - last_batch or (stage.tokens > trained.tokens and not is_last):
        raise ValueError(
            f"stages.{index}.tokens: is {stage.tokens}, and {trained.tokens} tokens of it were trained"
        )
