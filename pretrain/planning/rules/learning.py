"""Warnings of the learning rate and the optimizer: away from what the paper, or anybody, has tried."""

from __future__ import annotations

from collections.abc import Iterator

from megatron_lite.options import format_count
from megatron_lite.schedules.power import Power
from pretrain.laws.published import step_law_lr
from pretrain.planning.rules.subject import Subject

# Of the paper (arXiv 2408.13359): tables 2 and 3, and section 5.
SWEPT_RATES = (2e-4, 2.56e-2)
SWEPT_AMPLITUDES, SWEPT_EXPONENTS = (3.0, 5.0), (-0.6, -0.4)
SHORT_DECAY, LONG_DECAY = 0.095, 0.4  # of the run; 0.1 to 0.2 are the paper's
LONG_WARMUP, SHORT_WARMUP = 0.2, 10  # of the run; in updates
PLACES = 200  # at which a run's rate is looked at
STANDARD_FACTOR = 4  # times Step Law's rate that standard parametrisation hardly bears
LARGE_EPS, SLOW_BETA2 = 1e-8, 0.999
NEAR_STAGE = 0.01  # of the run


def decay_length(run: Subject) -> Iterator[str]:
    """A decay that is shorter or longer than those that work."""
    share = run.config.schedule.decay_tokens / run.derived.tokens
    if 0 < share < SHORT_DECAY:
        yield (
            f"schedule.decay_tokens: the decay is the last {share:.1%} of the run; the paper's are the "
            "last 10 to 20 %, and shorter ones end at a higher loss"
        )
    if share > LONG_DECAY:
        yield (
            f"schedule.decay_tokens: the decay is {share:.0%} of the run; the paper's are the last 10 to "
            "20 %, and a rate that falls so early learns less"
        )


def decay_start(run: Subject) -> Iterator[str]:
    """A decay that does not begin with the last stage, which is made for it."""
    decay_tokens, stages = run.config.schedule.decay_tokens, run.derived.stages_ahead
    if not decay_tokens or len(stages) < 2:
        return
    start, last = run.derived.tokens - decay_tokens, stages[-1]
    apart = start - last.first_tokens
    if abs(apart) > max(NEAR_STAGE * run.derived.tokens, 2 * run.largest_batch_tokens):
        side, together = "after" if apart > 0 else "before", format_count(last.tokens)
        yield (
            f"schedule.decay_tokens: the decay begins {format_count(abs(apart))} tokens {side} the stage "
            f"'{last.name}'; in the paper they begin together (schedule.decay_tokens={together})"
        )


def warm_up(run: Subject) -> Iterator[str]:
    """None, hardly any, or a large part of the run."""
    tokens, total = run.config.schedule.warmup_tokens, run.derived.tokens
    if tokens > total:
        return  # said by the run itself
    if tokens > LONG_WARMUP * total:
        yield (
            f"schedule.warmup_tokens: the warm-up is {tokens / total:.0%} of the run; the paper's 1B and 3B "
            "models and their sweeps warm up for 0.4 to 3 %"
        )
    updates = tokens / run.derived.segments_ahead[0].batch_tokens
    if updates < SHORT_WARMUP and run.begins_with_random_weights:
        yield (
            f"schedule.warmup_tokens: {updates:.3g} updates of warm-up; Adam's second moment knows nothing "
            "yet, and the first updates may break the weights (the paper's runs warm up for 2000 and more)"
        )


def paper_range(run: Subject) -> Iterator[str]:
    """The power law's constants and rates outside of what was swept."""
    schedule = run.config.schedule
    if not isinstance(schedule, Power) or not run.config.mup.enabled:
        return
    if schedule.lr_max > SWEPT_RATES[1]:
        yield (
            f"schedule.lr_max: {schedule.lr_max:g} is above every rate of the paper's sweep "
            f"({SWEPT_RATES[0]:g} to {SWEPT_RATES[1]:g}; its cap is 0.02)"
        )
    for key, value, (low, high) in (
        ("amplitude", schedule.amplitude, SWEPT_AMPLITUDES),
        ("exponent", schedule.exponent, SWEPT_EXPONENTS),
    ):
        if not low <= value <= high:
            yield f"schedule.{key}: {value:g} is outside of the paper's sweep, {low:g} to {high:g}"
    highest = _highest(run)
    if highest < SWEPT_RATES[0]:
        yield (
            f"schedule: the run's rate never gets above {highest:.3g}, and the paper's sweep begins at "
            f"{SWEPT_RATES[0]:g}; it is proportional to the batch, which is small for so many tokens"
        )


def standard_rate(run: Subject) -> Iterator[str]:
    """A µP rate for every matrix alike."""
    if run.config.mup.enabled:
        return
    usual = step_law_lr(run.counts.active_non_embedding, run.derived.tokens)
    highest = _highest(run)
    if highest > STANDARD_FACTOR * usual:
        yield (
            f"mup.enabled: false, so that every matrix learns at up to {highest:.3g}; Step Law (arXiv "
            f"2503.04715) says {usual:.2g} for standard parametrisation at this size and length"
        )


def optimizer(run: Subject) -> Iterator[str]:
    """Values that pretraining does without for a reason."""
    found = run.config.optimizer
    if not found.weight_decay:
        yield "optimizer.weight_decay: 0; weights grow without bound over a long run, and 0.1 is usual"
    if found.clip is None:
        yield "optimizer.clip: null; one bad batch can undo the run, and 1.0 is usual"
    if found.eps > LARGE_EPS:
        yield (
            f"optimizer.eps: {found.eps:g} is not small beside the gradients of a wide model, whose updates "
            "it shrinks, under µP more the wider it is; 1e-8 is usual, and 1e-10 the default here"
        )
    if found.adam_beta2 is None and found.betas[1] >= SLOW_BETA2:
        yield (
            f"optimizer.betas.1: {found.betas[1]:g} remembers {1 / (1 - found.betas[1]):.0f} updates; 0.95 "
            "is usual for language models, where a longer memory makes spikes of the loss more likely"
        )


def _highest(run: Subject) -> float:
    first, length = run.derived.first_tokens, run.derived.tokens - run.derived.first_tokens
    warm = min(run.config.schedule.warmup_tokens, run.derived.tokens)
    places = {first + index * length // PLACES for index in range(PLACES)} | {max(first, warm)}
    return max(map(run.derived.lr, places))


RULES = (decay_length, decay_start, warm_up, paper_range, standard_rate, optimizer)
