"""Learning rate, batch and weight decay by every published law side by side, in our units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from megatron_lite.schedules.power import REFERENCE_SEQUENCE_TOKENS
from pretrain.laws import ema, published
from pretrain.laws.advisers import LAWS, Advice, Question, compute


@dataclass(frozen=True, kw_only=True)
class Advices:
    """All laws' answers, the batch they were asked for, and where they disagree."""

    question: Question
    batch_tokens: float  # the asked one, or Step Law's
    loss: float
    laws: tuple[Advice, ...]
    notes: tuple[str, ...]


def advise(question: Question) -> Advices:
    """What every law says."""
    notes = []
    batch, loss = question.batch_tokens, question.loss
    if batch is None:
        batch = min(published.step_law_batch(question.D), question.D)
        notes.append(f"no batch given: laws that need one are asked at Step Law's, {batch:.3g} tokens")
    if loss is None:
        loss = published.chinchilla_loss(question.N, question.D)
        notes.append(f"no loss given: {loss:.3f} by Chinchilla's fit, whose tokens and text are not yours")
    if question.width_ratio is None:
        notes.append(
            "no width ratio given: µP rates, of the group with ratio 1, are not compared with others"
        )
    facts = _facts(question, batch)
    laws = tuple(_finish(law(question, batch, loss), question, batch, facts) for law in LAWS)
    return Advices(
        question=question,
        batch_tokens=batch,
        loss=loss,
        laws=laws,
        notes=(*notes, *_disagreements(laws)),
    )


def _facts(question: Question, batch: float) -> dict[str, float]:
    """What ranges are told in."""
    return {
        "N": question.N,
        "D": question.D,
        "C": compute(question)[0],
        "beta": batch / REFERENCE_SEQUENCE_TOKENS,
        "tokens per parameter": question.D / question.N,
    }


def _finish(advice: Advice, question: Question, batch: float, facts: dict[str, float]) -> Advice:
    """What is the same for every law: the hidden rate, its weight decay, the range."""
    hidden = {"standard": advice.lr, "other": None}.get(advice.source.kind)
    if advice.source.kind == "mup" and advice.lr is not None and question.width_ratio is not None:
        hidden = advice.lr / question.width_ratio
    window = None
    if hidden is not None:
        share = published.power_lines_timescale(question.D / question.N)
        window = ema.weight_decay_for(share, batch, hidden, question.D)
    return replace(advice, hidden_lr=hidden, window_weight_decay=window, outside=advice.source.outside(facts))


def _disagreements(laws: Sequence[Advice]) -> Iterator[str]:
    """By what factor the laws differ, in all and where the question is inside of what they were fitted on."""
    rates = [(law.hidden_lr, law) for law in laws if law.hidden_lr is not None]
    yield from _spread("the learning rate of hidden matrices", rates)
    based = [(law.lr, law) for law in laws if law.source.kind == "mup" and law.lr is not None]
    yield from _spread("the µP base rate", based)
    yield from _spread("the batch", [(law.batch_tokens, law) for law in laws if law.batch_tokens is not None])


def _spread(what: str, values: Sequence[tuple[float, Advice]]) -> Iterator[str]:
    for scope, chosen in (("all laws", values), ("laws asked inside of their range", _inside(values))):
        if len(chosen) < 2:
            continue
        low, high = min(chosen, key=lambda pair: pair[0]), max(chosen, key=lambda pair: pair[0])
        yield (
            f"{what}, {scope}: {low[0]:.3g} ({low[1].source.name}) to {high[0]:.3g} ({high[1].source.name}), "
            f"a factor {high[0] / low[0]:.3g}"
        )


def _inside(values: Sequence[tuple[float, Advice]]) -> list[tuple[float, Advice]]:
    return [pair for pair in values if not pair[1].outside]
