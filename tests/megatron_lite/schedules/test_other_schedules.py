"""WSD, cosine, linear and constant in closed form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.constant import Constant
from megatron_lite.schedules.cosine import Cosine
from megatron_lite.schedules.linear import Linear
from megatron_lite.schedules.tails import TAILS
from megatron_lite.schedules.wsd import Wsd

BATCH = ConstantBatch(batch_tokens=8192)


def bind(schedule: Schedule, total_tokens: int = 1000):
    return schedule.bind(batch=BATCH, total_tokens=total_tokens)


@pytest.mark.parametrize("tail", TAILS)
def test_wsd(tail):
    lr = bind(Wsd(lr_max=0.01, warmup_tokens=100, decay_tokens=200, decay=tail))
    assert [lr(n) for n in (0, 50, 100, 500, 800)] == [0, 0.005, 0.01, 0.01, 0.01]
    assert lr(850) == pytest.approx(0.01 * TAILS[tail](0.25))
    assert lr(1000) == 0


def test_wsd_decays_to_a_share():
    lr = bind(Wsd(lr_max=0.01, decay_tokens=200, decay="linear", decay_to=0.1))
    assert [lr(n) for n in (0, 800, 900, 1000, 1100)] == pytest.approx([0.01, 0.01, 0.0055, 0.001, 0.001])
    lr = bind(Wsd(lr_max=0.01, decay_tokens=200, decay="geometric", decay_to=0.01))
    assert [lr(n) for n in (800, 900, 1000, 1100)] == pytest.approx([0.01, 0.001, 0.0001, 0.0001])


def test_cosine():
    lr = bind(Cosine(lr_max=0.01, lr_min=0.001, warmup_tokens=200))
    assert [lr(n) for n in (0, 100, 200)] == [0, 0.005, 0.01]
    assert lr(400) == pytest.approx(0.001 + 0.009 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert lr(600) == pytest.approx(0.0055)
    assert lr(1000) == lr(2000) == 0.001


def test_linear_to_zero_by_default():
    lr = bind(Linear(lr_max=0.01, warmup_tokens=200))
    assert [lr(n) for n in (0, 100, 200)] == [0, 0.005, 0.01]
    assert lr(800) == pytest.approx(0.0025)
    assert lr(1000) == 0


def test_constant():
    lr = bind(Constant(lr_max=0.01, warmup_tokens=200))
    assert [lr(n) for n in (0, 100, 200, 10**9)] == [0, 0.005, 0.01, 0.01]


def test_constant_with_a_decay_is_wsd():
    options = {"lr_max": 0.01, "warmup_tokens": 100, "decay_tokens": 300}
    constant, wsd = bind(Constant(**options)), bind(Wsd(**options))
    assert [constant(n) for n in range(1100)] == [wsd(n) for n in range(1100)]


@pytest.mark.parametrize("schedule", [Cosine, Linear])
def test_a_decline_reaches_its_floor_where_its_decay_begins(schedule):
    options = {"lr_max": 0.01, "lr_min": 0.002, "warmup_tokens": 100}
    lr = bind(schedule(**options, decay_tokens=200, decay="linear"))
    shorter = bind(schedule(**options), total_tokens=800)
    assert [lr(n) for n in range(801)] == [shorter(n) for n in range(801)]
    assert [lr(n) for n in (800, 900, 1000)] == pytest.approx([0.002, 0.001, 0])


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (Cosine(lr_max=1, warmup_tokens=1000), "must be less than the run of 1000 tokens, whose rest cosine"),
        (Linear(lr_max=1, lr_min=2), "lr_min=2.0 is above lr_max=1.0"),
        (Cosine(lr_max=1, lr_min=0.1, warmup_tokens=600, decay_tokens=400), "tokens less decay_tokens=400"),
        (Linear(lr_max=1, decay_tokens=400), "falls to lr_min=0 before the decay"),
    ],
)
def test_declines_that_cannot_be(schedule, sentence):
    with pytest.raises(ValueError, match=sentence):
        bind(schedule)


@given(
    schedule=st.sampled_from([Cosine, Linear]),
    lr_max=st.floats(1e-6, 1),
    share=st.floats(0, 1),
    warmup=st.integers(0, 999),
    tokens=st.integers(0, 2000),
)
def test_never_below_its_floor_after_warm_up(schedule, lr_max, share, warmup, tokens):
    lr = bind(schedule(lr_max=lr_max, lr_min=lr_max * share, warmup_tokens=warmup))
    if tokens >= warmup:
        assert lr_max * share * (1 - 1e-15) <= lr(tokens) <= lr_max
