"""Power against the paper's formula, its table of values, and what must hold for every option."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.tails import TAILS, TailName, share_left

B, T = 10**9, 10**12
CAP = 0.02
AT = (1 * B, 10 * B, 100 * B, 1 * T, 2_500 * B, 10 * T)
# Section 1.2 of the notes on arXiv 2408.13359: a = 4, b = -0.51, cap 0.02. None: not listed.
TABLE = {
    64: (0.00658, 0.002033, 0.000628, 0.000194, 0.000122, 6.0e-5),
    128: (0.01316, 0.004067, 0.001257, 0.000388, 0.000243, 1.2e-4),
    256: (CAP, 0.008134, 0.002514, 0.000777, 0.000487, 2.4e-4),
    512: (CAP, 0.016268, 0.005027, 0.001554, 0.000974, 4.8e-4),
    1024: (CAP, CAP, 0.010054, 0.003107, 0.001947, 9.6e-4),
    2048: (CAP, CAP, CAP, 0.006214, 0.003894, 1.92e-3),
}


def batch_of(sequences: float) -> ConstantBatch:
    """A batch in sequences of 4096 tokens."""
    return ConstantBatch(batch_tokens=int(sequences * 4096))


@pytest.mark.parametrize("beta", TABLE)
def test_table_of_the_paper(beta):
    lr = Power().bind(batch=batch_of(beta), total_tokens=20 * T)
    for tokens, expected in zip(AT, TABLE[beta], strict=True):
        digits = len(f"{expected:.6f}".rstrip("0").split(".")[1]) if expected > 1.5e-4 else 6
        assert lr(tokens) == pytest.approx(expected, abs=0.5000001 * 10**-digits)


def test_four_digits_and_more():
    lr = Power().bind(batch=batch_of(1024), total_tokens=20 * T)
    assert lr(100 * B) == pytest.approx(1024 * 4.0 * math.exp(-0.51 * math.log(1e11)), rel=1e-12)
    assert f"{lr(100 * B):.6f}" == "0.010054"
    assert f"{lr(1 * T):.6f}" == "0.003107"


@pytest.mark.parametrize(("beta", "ends_at"), [(64, 0.113), (256, 1.71), (1024, 26.0), (2048, 101)])
def test_cap_ends_where_the_law_crosses_it(beta, ends_at):
    lr = Power().bind(batch=batch_of(beta), total_tokens=20 * T)
    assert lr(int(ends_at * 0.99 * B)) == CAP
    assert lr(int(ends_at * 1.01 * B)) < CAP


def test_beta_counts_sequences_of_4096_whatever_ours_are():
    short = ConstantBatch(batch_tokens=1024 * 512)
    assert Power().bind(batch=short, total_tokens=T)(B) == Power().bind(batch=batch_of(128), total_tokens=T)(
        B
    )


def test_the_worked_example_of_the_paper():
    """10T tokens at batch 1024 with the first fit's 4.6 give 0.0011."""
    lr = Power(amplitude=4.6).bind(batch=batch_of(1024), total_tokens=20 * T)
    assert lr(10 * T) == pytest.approx(1.104e-3, rel=1e-3)


def test_warm_up_rises_in_a_line_to_the_value_of_the_law():
    lr = Power(warmup_tokens=B).bind(batch=batch_of(128), total_tokens=100 * B)
    end = 128 * 4.0 * B**-0.51
    assert end < CAP  # so that warming up to the cap would show
    assert lr(0) == 0
    assert lr(B // 4) == pytest.approx(end / 4, rel=1e-12)
    assert lr(B) == pytest.approx(end, rel=1e-12)


def test_no_warm_up_starts_at_the_cap():
    assert Power().bind(batch=batch_of(128), total_tokens=B)(0) == CAP


def test_exponential_tail_in_closed_form():
    power = Power(warmup_tokens=B, decay_tokens=10 * B)
    lr = power.bind(batch=batch_of(128), total_tokens=100 * B)
    start = 128 * 4.0 * (90 * B) ** -0.51
    assert lr(90 * B) == pytest.approx(start, rel=1e-12)
    for share in (0.1, 0.5, 0.9):
        f = (math.exp(-share) - math.exp(-1)) / (1 - math.exp(-1))
        assert lr(90 * B + int(share * 10 * B)) == pytest.approx(start * f, rel=1e-9)
    assert lr(100 * B) == 0
    assert lr(101 * B) == 0


class DoublingBatch:
    """A batch that doubles at a token count."""

    def __init__(self, at: int) -> None:
        self.at = at

    def tokens_at(self, tokens: int) -> int:
        return 2**20 if tokens < self.at else 2**21


def test_beta_follows_the_batch_but_for_warm_up_and_tail():
    power, law = Power(lr_max=99.0, warmup_tokens=1000, decay_tokens=1000), 4.0 * 2**20 / 4096
    in_warm_up = power.bind(batch=DoublingBatch(at=1000), total_tokens=10_000)
    assert in_warm_up(500) == pytest.approx(0.5 * 2 * law * 1000**-0.51)  # the beta of N_w
    in_body = power.bind(batch=DoublingBatch(at=5000), total_tokens=10**6)
    assert in_body(5000) == pytest.approx(2 * law * 5000**-0.51)
    in_tail = power.bind(batch=DoublingBatch(at=10**6 - 500), total_tokens=10**6)
    kept = law * (10**6 - 1000) ** -0.51
    assert in_tail(10**6 - 500) == pytest.approx(kept * TAILS["exponential"](0.5))


@st.composite
def bound(draw):
    """Any power schedule that fits its run: options, batch and length."""
    total = draw(st.integers(1, 10**13))
    warmup = draw(st.integers(0, total))
    decay = draw(st.integers(0, total - warmup))
    power = Power(
        lr_max=draw(st.floats(1e-6, 1)),
        amplitude=draw(st.floats(1e-3, 100)),
        exponent=draw(st.floats(-2, 0)),
        warmup_tokens=warmup,
        decay_tokens=decay,
        decay=draw(st.sampled_from(get_args(TailName))),
        decay_to=draw(st.floats(0.01, 1)),
    )
    return power, batch_of(draw(st.integers(1, 10**5))), total


@given(bound(), st.data())
def test_never_above_the_cap_nor_below_zero(case, data):
    power, batch, total = case
    lr = power.bind(batch=batch, total_tokens=total)
    tokens = data.draw(st.integers(0, 2 * total))
    assert 0 <= lr(tokens) <= power.lr_max
    assert lr(tokens) == power.bind(batch=batch, total_tokens=total)(tokens)


@given(bound())
def test_continuous_at_its_seams_and_as_low_as_asked_at_its_end(case):
    power, batch, total = case
    lr, body = power.bind(batch=batch, total_tokens=total), Power.body
    if power.warmup_tokens:
        peak = body(power, power.warmup_tokens, batch.batch_tokens, total)
        assert lr(power.warmup_tokens - 1) <= peak
        assert lr(power.warmup_tokens - 1) == pytest.approx(peak, abs=1.0001 * peak / power.warmup_tokens)
    if power.decay_tokens:
        start = total - power.decay_tokens
        first = share_left(power.decay, 1 / power.decay_tokens, power.decay_to)
        assert lr(start + 1) == pytest.approx(lr(start) * first)
        assert 1 >= first >= 1 - 5 / math.sqrt(power.decay_tokens)
        assert lr(total) == lr(2 * total) == pytest.approx(lr(start) * power.decay_to)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decay_tokens": 1001}, "longer than the run of 1000"),
        ({"warmup_tokens": 600, "decay_tokens": 500}, "overlap"),
        ({"decay_tokens": 500, "decay": "geometric"}, "never reaches decay_to=0"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Power(**options).bind(batch=batch_of(1), total_tokens=1000)


def test_warm_up_may_touch_decay_and_outlast_a_run_without_decay():
    touching = Power(warmup_tokens=400, decay_tokens=600).bind(batch=batch_of(1), total_tokens=1000)
    assert touching(400) == min(CAP, 4.0 * 400**-0.51)
    unfinished = Power(warmup_tokens=4000).bind(batch=batch_of(1), total_tokens=1000)
    assert unfinished(1000) == min(CAP, 4.0 * 4000**-0.51) / 4


@pytest.mark.parametrize(
    "options", [{"exponent": 0.5}, {"amplitude": 0}, {"lr_max": -1}, {"warmup_tokens": -1}, {"decay_to": 1.5}]
)
def test_options_out_of_range(options):
    with pytest.raises(ValidationError):
        Power(**options)
