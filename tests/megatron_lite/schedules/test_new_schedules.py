"""Inverse square root, infinite, step and power_law_optimised in closed form, and where each falls."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.infinite import Infinite
from megatron_lite.schedules.inverse_sqrt import InverseSqrt
from megatron_lite.schedules.power_law_optimised import PowerLawOptimised
from megatron_lite.schedules.step import Step

BATCH = ConstantBatch(batch_tokens=8192)
ROOT = math.sqrt(0.1)


def bind(schedule: Schedule, total_tokens: int = 1000):
    return schedule.bind(batch=BATCH, total_tokens=total_tokens)


def values(schedule: Schedule, *at: int, total_tokens: int = 1000) -> list[float]:
    lr = bind(schedule, total_tokens)
    return [lr(tokens) for tokens in at]


def test_inverse_sqrt_over_its_own_warm_up_is_the_transformers():
    found = values(InverseSqrt(lr_max=0.01, warmup_tokens=100), 0, 50, 100, 400, 900, 10_000)
    assert found == pytest.approx([0, 0.005, 0.01, 0.005, 0.01 / 3, 0.001])


def test_inverse_sqrt_over_a_timescale():
    schedule = InverseSqrt(lr_max=0.01, warmup_tokens=100, timescale_tokens=300)
    assert values(schedule, 50, 100, 1000) == pytest.approx([0.005, 0.01, 0.005])
    assert values(InverseSqrt(lr_max=0.01, timescale_tokens=300), 0, 900) == pytest.approx([0.01, 0.005])


def test_inverse_sqrt_cools_down_in_a_line():
    schedule = InverseSqrt(lr_max=0.01, warmup_tokens=100, decay_tokens=600, decay="linear")
    assert values(schedule, 400, 700, 1000) == pytest.approx([0.005, 0.0025, 0])


def test_inverse_sqrt_needs_a_timescale():
    with pytest.raises(ValueError, match="timescale_tokens is missing"):
        bind(InverseSqrt(lr_max=1))


def test_infinite_at_the_papers_points():
    """Maximum 3e-4, constant 1.5e-4, minimum 1e-6; 1000 + 4000 tokens, an anneal from 20000 to 22000."""
    schedule = Infinite(
        lr_max=3e-4,
        lr_constant=1.5e-4,
        warmup_tokens=1000,
        cooldown_tokens=4000,
        decay_tokens=2000,
        decay_to=1 / 150,
    )
    expected = {0: 0, 500: 1.5e-4, 1000: 3e-4, 3000: 2.25e-4, 5000: 1.5e-4, 12_345: 1.5e-4, 20_000: 1.5e-4}
    expected |= {21_000: 1.224745e-5, 22_000: 1e-6, 23_000: 1e-6}
    found = values(schedule, *expected, total_tokens=22_000)
    assert found == pytest.approx(list(expected.values()), rel=5e-7)


def test_infinite_is_without_an_end_and_may_be_left_while_it_cools_down():
    endless = Infinite(lr_max=2, lr_constant=1, cooldown_tokens=1000)
    assert values(endless, 0, 500, 1000, 10**15) == pytest.approx([2, 1.5, 1, 1])
    early = Infinite(lr_max=2, lr_constant=1, cooldown_tokens=1000, decay_tokens=500, decay_to=0.1)
    assert values(early, 250, 500, 750, 1000) == pytest.approx(
        [1.5 + math.sqrt(0.125), 1.5, 1.5 * ROOT, 0.15]
    )


def test_infinite_does_not_cool_down_upwards():
    with pytest.raises(ValueError, match=r"lr_constant=2\.0 is above lr_max=1\.0"):
        bind(Infinite(lr_max=1, lr_constant=2, cooldown_tokens=10))


def test_step_falls_at_80_and_90_percent():
    found = values(Step(lr_max=0.01, warmup_tokens=100), 0, 50, 100, 799, 800, 899, 900, 1000, 2000)
    expected = [0, 0.005, 0.01, 0.01, 0.01 * ROOT, 0.01 * ROOT, 0.001, 0.001, 0.001]
    assert found == pytest.approx(expected, rel=1e-12)


@example(digits=5500, total=100, off=0)
@example(digits=700, total=100, off=0)
@example(digits=2900, total=10**14, off=0)
@given(digits=st.integers(1, 9999), total=st.integers(1, 10**15), off=st.integers(-2, 2))
def test_step_falls_at_exactly_the_share_that_was_written(digits, total, off):
    """n >= share N without a rounding: 0.55 x 100 is 55.000000000000007 in binary."""
    tokens = digits * total // 10_000 + off
    if tokens >= 0:
        lr = bind(Step(lr_max=1, at=(digits / 10_000,), factor=0.5), total)
        assert lr(tokens) == (0.5 if tokens * 10_000 >= digits * total else 1)


def test_step_with_falls_of_its_own_and_a_decay():
    schedule = Step(lr_max=1, at=(0.25, 0.5), factor=0.5, decay_tokens=200, decay="linear")
    assert values(schedule, 199, 200, 399, 400, 800, 900, 1000) == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0]


@pytest.mark.parametrize("options", [{"at": ()}, {"at": (0.9, 0.8)}, {"at": (0.5, 0.5)}, {"at": (0.5, 1)}])
def test_step_shares_that_are_refused(options):
    with pytest.raises(ValidationError):
        Step(lr_max=1, **options)


def test_step_warm_up_must_reach_the_plateau():
    assert bind(Step(lr_max=1, warmup_tokens=799))(799) == 1
    with pytest.raises(ValueError, match=r"must end before the first fall, at 0\.8 of 1000 tokens"):
        bind(Step(lr_max=1, warmup_tokens=800))


def test_power_law_optimised():
    found = values(PowerLawOptimised(lr_max=0.01, warmup_tokens=100), 0, 50, 100, 890, 945, 1000, 1100)
    assert found == pytest.approx([0, 0.005, 0.01, 0.01, 0.01 * 0.5**1.5, 0, 0], rel=1e-12)


def test_power_law_optimised_with_options_of_its_own():
    schedule = PowerLawOptimised(lr_max=1, lr_min=0.2, flat_share=0.5, exponent=2)
    assert values(schedule, 0, 500, 750, 1000) == pytest.approx([1, 1, 0.4, 0.2])
    late = PowerLawOptimised(lr_max=1, warmup_tokens=600, flat_share=0.5, exponent=1)
    assert values(late, 300, 600, 800, 1000) == pytest.approx([0.5, 1, 0.5, 0])
    assert bind(PowerLawOptimised(lr_max=1, flat_share=0, exponent=1))(250) == 0.75
