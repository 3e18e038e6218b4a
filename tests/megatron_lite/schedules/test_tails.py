"""Decay tails: exact at both ends, falling between, and the values that papers and other code give them."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.tails import TAILS, TailName, geometric, share_left

NAMES = get_args(TailName)
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_each_name_is_a_tail_and_stands_in_the_option():
    assert {*TAILS, "geometric"} == set(NAMES)
    meaning = Schedule.model_fields["decay"].description
    assert all(name in meaning for name in NAMES)


@pytest.mark.parametrize("name", TAILS)
def test_exact_at_both_ends_and_falling_between(name):
    tail = TAILS[name]
    assert tail(0.0) == 1
    assert tail(1.0) == 0
    values = [tail(index / 64) for index in range(65)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 65


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exponential", [(math.e ** (1 - x) - 1) / (math.e - 1) for x in QUARTERS]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("one_minus_sqrt", [1, 0.5, 0.292893, 0.133975, 0]),
        ("square", [1, 0.9375, 0.75, 0.4375, 0]),
        ("mirror_cosine", [1, 1 - math.sqrt(0.125), 0.5, math.sqrt(0.125), 0]),
        ("power_1_5", [1, math.sqrt(0.421875), math.sqrt(0.125), 0.125, 0]),
    ],
)
def test_closed_form_at_each_quarter(name, expected):
    assert [TAILS[name](x) for x in QUARTERS] == pytest.approx(expected, abs=5e-7)
    kept = [share_left(name, x, 0.2) for x in QUARTERS]
    assert kept == pytest.approx([0.2 + 0.8 * value for value in expected], abs=5e-7)


@pytest.mark.parametrize("end", [0.0, 0.1, 0.5])
def test_exponential_is_the_formula_of_ibms_code_for_every_end_ratio(end):
    rise, floor = (1 - end) * math.e / (math.e - 1), (end * math.e - 1) / (math.e - 1)
    for index in range(101):
        theirs = rise * math.exp(-index / 100) + floor
        assert share_left("exponential", index / 100, end) == pytest.approx(theirs, abs=1e-15)


def test_geometric_is_minicpms_half_life_and_neoxs_half_at_the_end():
    decay_tokens, half_life = 7000, 2000
    for tokens in (0, 1, 2000, 4000, 7000):
        end = 0.5 ** (decay_tokens / half_life)
        assert geometric(tokens / decay_tokens, end) == pytest.approx(0.5 ** (tokens / half_life))
        neox = math.exp(-0.693 * tokens / decay_tokens)
        assert geometric(tokens / decay_tokens, 0.5) == pytest.approx(neox, rel=2e-4)


def test_geometric_is_the_interpolation_of_two_rates():
    """The Multi-Power Law's WSD: peak^(1-x) end^x, here from 3e-4 to 3e-5."""
    for x in QUARTERS:
        assert 3e-4 * geometric(x, 0.1) == pytest.approx(3e-4 ** (1 - x) * 3e-5**x, rel=1e-12)


@given(name=st.sampled_from(NAMES), x=st.floats(0, 1), later=st.floats(0, 1), end=st.floats(1e-9, 1))
def test_between_its_end_and_one_whatever_the_end(name, x, later, end):
    assert share_left(name, 0.0, end) == 1
    assert share_left(name, 1.0, end) == end
    x, later = sorted((x, later))
    first, second = share_left(name, x, end), share_left(name, later, end)
    assert end * (1 - 1e-15) <= second <= first * (1 + 1e-15) <= 1 + 1e-15
    assert first <= 1
