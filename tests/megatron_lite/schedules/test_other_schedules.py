"""WSD, cosine, linear and constant in closed form, and every schedule by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.constant import Constant
from megatron_lite.schedules.cosine import Cosine
from megatron_lite.schedules.linear import Linear
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.registry import ScheduleOptions
from megatron_lite.schedules.tails import TAILS
from megatron_lite.schedules.wsd import Wsd

BATCH = ConstantBatch(batch_tokens=8192)


def bind(schedule: Schedule, total_tokens: int = 1000):
    return schedule.bind(batch=BATCH, total_tokens=total_tokens)


@pytest.mark.parametrize("name", TAILS)
def test_tails_are_exact_at_both_ends_and_fall_between(name):
    tail = TAILS[name]
    assert tail(0.0) == 1
    assert tail(1.0) == 0
    values = [tail(index / 64) for index in range(65)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 65


def test_tails_in_the_middle():
    middle = {name: tail(0.25) for name, tail in TAILS.items()}
    assert middle == pytest.approx(
        {
            "exponential": (math.e**-0.25 - math.e**-1) / (1 - math.e**-1),
            "linear": 0.75,
            "cosine": (1 + math.sqrt(0.5)) / 2,
            "one_minus_sqrt": 0.5,
        }
    )


@pytest.mark.parametrize("tail", TAILS)
def test_wsd(tail):
    lr = bind(Wsd(lr_max=0.01, warmup_tokens=100, decay_tokens=200, decay=tail))
    assert [lr(n) for n in (0, 50, 100, 500, 800)] == [0, 0.005, 0.01, 0.01, 0.01]
    assert lr(850) == pytest.approx(0.01 * TAILS[tail](0.25))
    assert lr(1000) == 0


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


@pytest.mark.parametrize("schedule", [Cosine(lr_max=1, warmup_tokens=1000), Linear(lr_max=1, lr_min=2)])
def test_declines_that_cannot_be(schedule):
    with pytest.raises(ValueError, match=r"must be less than the run|is above lr_max"):
        bind(schedule)


@given(
    schedule=st.sampled_from([Wsd, Cosine, Linear, Constant]),
    lr_max=st.floats(1e-6, 1),
    warmup=st.integers(0, 999),
    tokens=st.integers(0, 2000),
)
def test_between_zero_and_the_cap_and_pure(schedule, lr_max, warmup, tokens):
    lr = bind(schedule(lr_max=lr_max, warmup_tokens=warmup))
    assert 0 <= lr(tokens) <= lr_max
    assert lr(tokens) == bind(schedule(lr_max=lr_max, warmup_tokens=warmup))(tokens)


def test_chosen_by_name_with_power_where_there_is_none():
    adapter = TypeAdapter(ScheduleOptions)
    assert adapter.validate_python({"name": "wsd", "lr_max": 1}) == Wsd(lr_max=1)
    assert adapter.validate_python({"lr_max": 1}) == Power(lr_max=1)
    assert adapter.validate_python(Linear(lr_max=1)) == Linear(lr_max=1)
    for name in registry.names():
        schedule = adapter.validate_python({"name": name, "lr_max": 1})
        assert schedule.name == name
        assert adapter.validate_python(adapter.dump_python(schedule)) == schedule


def test_a_schedule_has_no_keys_of_another():
    with pytest.raises(ValidationError, match="amplitude"):
        TypeAdapter(ScheduleOptions).validate_python({"name": "wsd", "lr_max": 1, "amplitude": 4})


def test_registering_one_of_ones_own(monkeypatch):
    monkeypatch.setattr(registry, "_SCHEDULES", dict(registry._SCHEDULES))

    @registry.register
    class Staircase(Schedule):
        name: str = "staircase"

        def body(self, tokens: int, batch_tokens: int, total_tokens: int) -> float:
            return 1 / (1 + tokens // 100)

    found = TypeAdapter(ScheduleOptions).validate_python({"name": "staircase"})
    assert isinstance(found, Staircase)
    assert bind(found)(250) == pytest.approx(1 / 3)

    with pytest.raises(ValueError, match="exists already"):

        @registry.register
        class Imposter(Schedule):
            name: str = "power"
