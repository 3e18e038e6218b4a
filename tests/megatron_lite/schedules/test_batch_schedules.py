"""Batch schedules in closed form, at their boundaries, and what each refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from megatron_lite.schedules.batch_schedules import (
    BatchScheduleOptions,
    ConstantSize,
    Doubling,
    LinearInTokens,
    Ramp,
    Seesaw,
    SquareRoot,
)


def test_constant() -> None:
    assert {ConstantSize().sequences_at(n, 8) for n in (0, 1, 10**15)} == {8}


def test_ramp_in_steps_of_the_first_batch() -> None:
    """As Megatron's ramp-up: 32 to 256 in steps of 32 over 7000 tokens is a step every 1000."""
    ramp = Ramp(max_sequences=256, tokens=7000)
    assert [ramp.sequences_at(n, 32) for n in (0, 999, 1000, 1999, 2000, 6999, 7000, 10**9)] == [
        32, 32, 64, 64, 96, 224, 256, 256,
    ]  # fmt: skip


def test_ramp_in_steps_of_another_size() -> None:
    ramp = Ramp(max_sequences=24, tokens=1000, multiple_of=4)
    assert [ramp.sequences_at(n, 8) for n in (0, 249, 250, 500, 999, 1000)] == [8, 8, 12, 16, 20, 24]


def test_doubling() -> None:
    doubling = Doubling(at_tokens=(100, 250))
    assert [doubling.sequences_at(n, 6) for n in (0, 99, 100, 249, 250, 10**9)] == [6, 6, 12, 12, 24, 24]


def test_square_root() -> None:
    root = SquareRoot(max_sequences=1000, from_tokens=100, multiple_of=1)
    assert [root.sequences_at(n, 10) for n in (0, 100, 121, 400, 10_000, 10**6, 10**9)] == [
        10, 10, 11, 20, 100, 1000, 1000,
    ]  # fmt: skip


def test_linear_in_tokens() -> None:
    line = LinearInTokens(max_sequences=1000, from_tokens=100, multiple_of=1)
    assert [line.sequences_at(n, 10) for n in (0, 100, 109, 110, 200, 10**4, 10**9)] == [
        10, 10, 10, 11, 20, 1000, 1000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fallen_to", "batch"), [(1.0, 4), (0.51, 4), (0.5, 8), (0.1, 40), (1e-9, 64), (0.0, 64)]
)
def test_seesaw_is_the_inverse_of_the_fall(fallen_to: float, batch: int) -> None:
    assert Seesaw(max_sequences=64).sequences_under(fallen_to, 4) == batch


def test_seesaw_at_a_fall_that_floating_point_misses() -> None:
    tenth = math.nextafter(0.1, 1)
    assert 1 / tenth < 10
    assert Seesaw(max_sequences=64).sequences_under(tenth, 1) == 10


growing = st.one_of(
    st.builds(
        Ramp, max_sequences=st.integers(64, 4096), tokens=st.integers(1, 10**12), multiple_of=st.none()
    ),
    st.builds(
        SquareRoot,
        max_sequences=st.integers(64, 4096),
        from_tokens=st.integers(1, 10**12),
        multiple_of=st.none(),
    ),
    st.builds(
        LinearInTokens,
        max_sequences=st.integers(64, 4096),
        from_tokens=st.integers(1, 10**12),
        multiple_of=st.just(2),
    ),
    st.builds(
        Doubling, at_tokens=st.sets(st.integers(1, 10**12), min_size=1, max_size=4).map(sorted).map(tuple)
    ),
)


@given(growing, st.integers(1, 32).map(lambda half: 2 * half), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_batch_never_shrinks_and_keeps_its_bounds(schedule, first: int, some: int, more: int) -> None:
    early, late = (schedule.sequences_at(n, first) for n in sorted((some, more)))
    assert first <= early <= late
    unit = getattr(schedule, "multiple_of", None) or first
    assert (early % unit, late % unit) == (0, 0)
    assert late <= getattr(schedule, "max_sequences", first * 16)


@pytest.mark.parametrize(
    ("schedule", "first", "sentence"),
    [
        (Ramp(max_sequences=4, tokens=1), 8, "max_sequences=4 is less than batch.sequences=8"),
        (Ramp(max_sequences=20, tokens=1), 8, "max_sequences=20 is not a multiple of 8.*; 16 or 24 would be"),
        (
            Seesaw(max_sequences=24, multiple_of=12),
            8,
            "batch.sequences=8 is not a multiple of 12.*; 12 would be",
        ),
    ],
)
def test_what_a_run_cannot_begin_with(schedule, first: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        schedule.check(first)


@pytest.mark.parametrize(
    "section",
    [
        {"name": "doubling", "at_tokens": []},
        {"name": "doubling", "at_tokens": [5, 5]},
        {"name": "doubling", "at_tokens": [7, 5]},
        {"name": "ramp", "max_sequences": 8},
        {"name": "ramp", "max_sequences": 8, "tokens": 0},
        {"name": "sqrt", "max_sequences": 8, "tokens": 5},
        {"name": "exponential"},
        {"max_sequences": 8},
    ],
)
def test_sections_that_are_none(section: dict) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(BatchScheduleOptions).validate_python(section)


def test_chosen_by_name_and_written_back() -> None:
    adapter = TypeAdapter(BatchScheduleOptions)
    for schedule in (
        ConstantSize(),
        Ramp(max_sequences=8, tokens=5),
        Doubling(at_tokens=(5,)),
        SquareRoot(max_sequences=8, from_tokens=5),
        LinearInTokens(max_sequences=8, from_tokens=5),
        Seesaw(max_sequences=8),
    ):
        assert adapter.validate_python(adapter.dump_python(schedule, mode="json")) == schedule
