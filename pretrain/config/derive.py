"""What follows from a config before anything is built: the run's updates, stages and learning rate."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.schedules.base import LearningRate
from megatron_lite.schedules.batch import BatchOptions, BatchSchedule, ConstantBatch
from megatron_lite.schedules.batch_schedules import Seesaw
from megatron_lite.schedules.timeline import Segment, Timeline, joined
from pretrain.config.batches import BatchOverTime
from pretrain.config.foreign import bound, probe
from pretrain.config.history import Past, StagePlan
from pretrain.config.layout import Layout, is_whole_run, lay_out
from pretrain.config.seesaw import batch_under, check_seesaw, plain_tokens, with_root
from pretrain.errors import UserError

if TYPE_CHECKING:  # the schema asks this file whether a config is possible
    from pretrain.config.schema import Config


PROBES = 10_000  # updates that are looked at under a schedule that is not ours


@dataclass(frozen=True, kw_only=True)
class Derived:
    """The run in updates and tokens; update k, counted from 0, is made at `lr(timeline.update(k).tokens)`."""

    past: Past
    stages: tuple[StagePlan, ...]  # those of the past before this run's own
    timeline: Timeline  # likewise
    batch: BatchOverTime
    lr: LearningRate

    @property
    def steps(self) -> int:
        """Updates in all, those of the past included."""
        return self.timeline.end.step

    @property
    def tokens(self) -> int:
        """N, at which the run ends."""
        return self.timeline.end.tokens

    @property
    def first_step(self) -> int:
        """Updates before this run's first."""
        return self.past.here.step

    @property
    def first_tokens(self) -> int:
        """Tokens before this run's first update."""
        return self.past.here.tokens

    @property
    def segments_ahead(self) -> tuple[Segment, ...]:
        """The run's own updates, in as few segments of one batch as can be."""
        own = (part for part in self.timeline.segments if part.first_step >= self.first_step)
        return joined(list(own))

    @property
    def stages_ahead(self) -> tuple[StagePlan, ...]:
        """The stages of which this run trains something itself."""
        return tuple(stage for stage in self.stages if stage.end.step > self.first_step)

    def stage_at(self, step: int) -> StagePlan:
        """The stage of update `step`, counted from 0; the last stage behind the end."""
        return self.stages[bisect_right(self.stages, step, key=lambda stage: stage.first_step) - 1]

    def until(self, step: int) -> Past:
        """The past of a run that goes on from here after `step` updates."""
        here = self.timeline.update(step - 1).after if step > self.first_step else self.past.here
        begun = (stage for stage in self.stages if stage.first_step < step)
        return Past(
            here=here,
            stages=tuple(stage.until(here) if stage.end.step > step else stage for stage in begun),
            segments=self.timeline.before(step),
            batches=tuple(span for span in self.batch.spans if span.first_tokens < here.tokens),
            moments_from=self.past.moments_from,
        )


def derive(config: Config, past: Past | None = None) -> Derived:
    """Stages rounded up to whole batches and the schedule bound to their sum; ValueError if it cannot be.

    `past`: where the run branched from, if it did.
    """
    past = past or Past.at(config.run.init_tokens)
    if isinstance(config.batch.schedule, Seesaw):
        derived = _under_seesaw(config, past, config.batch.schedule)
    else:
        scheduled = partial(config.batch.schedule.sequences_at, first=config.batch.sequences)
        layout = lay_out(config, past, scheduled)
        derived = _derived(past, layout, _bound(config, layout.batch, layout.tokens))
    _check_decay(config, derived)
    _probe(config, derived)
    return derived


def _under_seesaw(config: Config, past: Past, seesaw: Seesaw) -> Derived:
    """The batch follows the rate, which follows the length, which is a whole number of batches.

    So that this is no circle, the schedule is that of the run with its first batch throughout, which is as
    long but for less than one of the later batches a stage.
    """
    if config.schedule.follows_batch:
        raise ValueError(
            f"batch.schedule: seesaw lets the batch follow the learning rate, and {config.schedule.name}'s "
            "rate follows the batch; choose another schedule, or a batch schedule that counts tokens"
        )
    first, total_tokens = config.batch.sequences, plain_tokens(config, past)
    lr = _bound(config, ConstantBatch(batch_tokens=config.batch.tokens), total_tokens)
    check_seesaw(config, lr, total_tokens)
    sequences_at = batch_under(config, lr, seesaw)
    return _derived(past, lay_out(config, past, sequences_at), with_root(lr, sequences_at, first))


def _bound(config: Config, batch: BatchSchedule, total_tokens: int) -> LearningRate:
    try:
        return bound(config.schedule, batch, total_tokens)
    except ValueError as error:
        raise ValueError(f"schedule: {error}") from None


def _check_decay(config: Config, derived: Derived) -> None:
    """ValueError where a run would begin in the middle of its decay, which lowers the rate at one blow."""
    decay_tokens, here = config.schedule.decay_tokens, derived.first_tokens
    start = derived.tokens - decay_tokens
    if decay_tokens and start < here and not is_whole_run(config, derived.past):
        raise ValueError(
            f"schedule: decay_tokens={decay_tokens} would begin at {start} tokens, before the run, which "
            f"begins at {here}; at most {derived.tokens - here} are left"
        )


def _probe(config: Config, derived: Derived) -> None:
    """ValueError where somebody else's schedule gives no rate to an update, of very many to a sample."""
    steps = range(derived.first_step, derived.steps, max(1, (derived.steps - derived.first_step) // PROBES))
    places = (derived.timeline.update(step).tokens for step in steps)
    try:
        probe(config.schedule, derived.lr, places)
    except ValueError as error:
        raise ValueError(f"schedule: {error}") from None


def _derived(past: Past, layout: Layout, lr: LearningRate) -> Derived:
    return Derived(
        past=past,
        stages=layout.stages,
        timeline=Timeline(segments=layout.segments),
        batch=layout.batch,
        lr=lr,
    )


def model_shape(config: Config, vocab_size: int | None = None) -> ModelShape:
    """The decoder's shape; a vocabulary that the model section leaves out is the tokenizer's."""
    return resolve_shape(config.model, config.mup, vocab_size or config.data.tokenizer.vocab_size)


def micro_steps(batch: BatchOptions, num_ranks: int) -> int:
    """Forward passes that each rank makes for the first batch; UserError with batches that divide."""
    return passes(batch.sequences, batch.micro_sequences, num_ranks)


def passes(sequences: int, micro_sequences: int, num_ranks: int) -> int:
    """Forward passes that each rank makes for an update; UserError with the nearest batches that divide."""
    share = micro_sequences * num_ranks
    if sequences % share:
        raise UserError(
            f"batch.sequences: {sequences} is not a multiple of batch.micro_sequences x ranks = "
            f"{micro_sequences} x {num_ranks} = {share}; {nearest_multiples(sequences, share)} "
            f"would be.{_smaller_micro(sequences, micro_sequences, num_ranks)}"
        )
    return sequences // share


def check_shares(derived: Derived, num_ranks: int) -> None:
    """UserError where the ranks cannot share one of the batches ahead."""
    for segment in derived.timeline.segments:
        if segment.first_step >= derived.first_step:
            micro_sequences = derived.stage_at(segment.first_step).micro_sequences
            try:
                passes(segment.sequences, micro_sequences, num_ranks)
            except UserError as error:
                if segment.first_step == 0:
                    raise
                raise UserError(f"At {segment.first_tokens} tokens, {error}") from None


def nearest_multiples(number: int, unit: int) -> str:
    """`x or y`: the multiples of `unit` on both sides of `number`."""
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def _smaller_micro(sequences: int, micro_sequences: int, num_ranks: int) -> str:
    """The largest micro_sequences that would do, where a batch of this size can be cut at all."""
    if sequences % num_ranks:
        return ""
    per_rank = sequences // num_ranks
    fitting = next(size for size in range(micro_sequences, 0, -1) if per_rank % size == 0)
    return f" With {sequences} sequences, batch.micro_sequences={fitting} would do."
