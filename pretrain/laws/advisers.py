"""What one is asked and what one answers: every published law as a function of the same question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from megatron_lite.schedules.power import REFERENCE_SEQUENCE_TOKENS, Power
from pretrain.errors import UserError
from pretrain.laws import catalogue, ema, published
from pretrain.laws.catalogue import Source


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be trained. Whatever is None is estimated, and said to be."""

    N: float  # parameters without embeddings
    D: float  # tokens
    batch_tokens: float | None = None
    width_ratio: float | None = None  # hidden_size / base width, for comparing µP rates with others
    loss: float | None = None
    layers: int | None = None
    hidden: int | None = None
    sequence: int = 4096
    known_lr: float | None = None  # a rate tuned at `known_tokens`, for the horizon rule
    known_tokens: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{name} is {value} and should be a finite number above 0")
        if (self.layers is None) != (self.hidden is None):
            raise UserError("layers and hidden size go together: one of them is missing")
        if (self.known_lr is None) != (self.known_tokens is None):
            raise UserError(
                "a tuned rate and the tokens that it was tuned at go together: one of them is missing"
            )
        if self.batch_tokens is not None and self.batch_tokens > self.D:
            raise UserError(f"a batch of {self.batch_tokens:g} tokens is longer than the run of {self.D:g}")


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One law's answer; None where it has none to give."""

    source: Source
    lr: float | None = None  # as the law counts it: of ratio 1 for a µP law, of every parameter otherwise
    hidden_lr: float | None = None  # of the hidden matrices; needs the width ratio for a µP law
    batch_tokens: float | None = None
    weight_decay: float | None = None  # of the law's own runs, or what it recommends
    window_weight_decay: float | None = None  # the decay by which Power Lines would go with this hidden rate
    outside: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def _power(question: Question, batch: float, loss: float) -> Advice:
    lr = Power().body(round(question.D), round(batch), round(question.D))
    best = batch / REFERENCE_SEQUENCE_TOKENS * 4.6 * question.D**-0.51
    fitted = (
        f"for a stable schedule of {question.D:.3g} tokens the fit says {best:.3g} (amplitude 4.6, no cap)"
    )
    used = "its authors trained 1B and 3B models with batches of 1024 sequences for 1T to 3T tokens by it"
    return Advice(source=catalogue.POWER, lr=lr, weight_decay=0.1, remarks=(fitted, used))


def _step_law(question: Question, batch: float, loss: float) -> Advice:
    return Advice(
        source=catalogue.STEP_LAW,
        lr=published.step_law_lr(question.N, question.D),
        batch_tokens=published.step_law_batch(question.D),
        weight_decay=0.1,
        remarks=("rises with D along its own rising batch; at a fixed batch others fall",),
    )


def compute(question: Question) -> tuple[float, bool]:
    """DeepSeek's C, and whether it is exact."""
    if question.layers is None or question.hidden is None:
        return 6 * question.N * question.D, False
    return published.deepseek_compute(question.D, question.layers, question.hidden, question.sequence), True


def _deepseek(question: Question, batch: float, loss: float) -> Advice:
    flops, exact = compute(question)
    told = "layers and width not given: C taken as 6ND, without attention"
    return Advice(
        source=catalogue.DEEPSEEK,
        lr=published.deepseek_lr(flops),
        batch_tokens=published.deepseek_batch(flops),
        weight_decay=0.1,
        remarks=() if exact else (told,),
    )


def _minicpm(question: Question, batch: float, loss: float) -> Advice:
    return Advice(source=catalogue.MINICPM, lr=0.01, batch_tokens=published.minicpm_batch(loss))


def _porian(question: Question, batch: float, loss: float) -> Advice:
    return Advice(
        source=catalogue.PORIAN,
        lr=published.porian_lr(question.N),
        batch_tokens=published.porian_batch(question.N),
    )


def _olmo(question: Question, batch: float, loss: float) -> Advice:
    return Advice(
        source=catalogue.OLMO,
        lr=published.olmo_ladder_lr(question.N),
        batch_tokens=published.olmo_ladder_batch(question.N),
        weight_decay=0.1,
    )


def _kaplan(question: Question, batch: float, loss: float) -> Advice:
    lr = published.kaplan_lr(question.N)
    told = "its rate is negative at this size: no answer"
    return Advice(
        source=catalogue.KAPLAN,
        lr=lr,
        batch_tokens=published.kaplan_critical_batch(loss),
        remarks=(told,) if lr is None else (),
    )


def _scion(question: Question, batch: float, loss: float) -> Advice:
    words = "best batch as D^0.45, best rate along it as D^-0.28; no constant is published"
    return Advice(source=catalogue.SCION, lr=published.scion_lr(batch, question.D), remarks=(words,))


def _bjorck(question: Question, batch: float, loss: float) -> Advice:
    if question.known_lr is None or question.known_tokens is None:
        words = "needs a rate tuned at other tokens; for four times the tokens it falls by 0.642"
        return Advice(source=catalogue.BJORCK, remarks=(words,))
    factor = published.horizon_factor(question.known_tokens, question.D)
    words = f"{question.known_lr:g} tuned at {question.known_tokens:.3g} tokens, times {factor:.4f}"
    return Advice(source=catalogue.BJORCK, lr=question.known_lr * factor, remarks=(words,))


def _power_lines(question: Question, batch: float, loss: float) -> Advice:
    base = 1.62e-2
    share = published.power_lines_timescale(question.D / question.N)
    decay = None
    if question.width_ratio is not None:
        decay = ema.weight_decay_for(share, batch, base / question.width_ratio, question.D)
    return Advice(
        source=catalogue.POWER_LINES,
        lr=base,
        batch_tokens=published.power_lines_batch(question.D),
        weight_decay=decay,
        remarks=(
            f"AdamW's window should be {share:.3f} of the run; the rate is what its runs used, not a law",
        ),
    )


def _schaipp(question: Question, batch: float, loss: float) -> Advice:
    return Advice(source=catalogue.SCHAIPP, batch_tokens=published.schaipp_batch(question.D))


LAWS: tuple[Callable[[Question, float, float], Advice], ...] = (
    _power,
    _step_law,
    _deepseek,
    _minicpm,
    _porian,
    _olmo,
    _kaplan,
    _bjorck,
    _power_lines,
    _scion,
    _schaipp,
)
