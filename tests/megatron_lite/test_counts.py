"""Counts and real numbers as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from megatron_lite.options import Count, Real, format_count, parse_count


class Numbers(BaseModel):
    """One field of each kind."""

    count: Count = 0
    real: Real = 0.0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10.5B", 10_500_000_000),
        ("300M", 300_000_000),
        ("64K", 64_000),
        ("64k", 64_000),
        ("1.1T", 1_100_000_000_000),
        ("1e9", 10**9),
        (1e9, 10**9),
        ("1_000", 1000),
        (4096, 4096),
        ("0.1K", 100),
        (0, 0),
    ],
)
def test_counts(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "value",
    [
        "-1",
        -1,
        "1.5",
        "1.0005K",
        "abc",
        "",
        "10Q",
        True,
        None,
        [1],
        "nan",
        "inf",
        "1e30",
        "1e999999999",
        10**400,
    ],
)
def test_not_counts(value):
    with pytest.raises(ValueError, match="should"):
        parse_count(value)


@given(
    st.one_of(
        st.text(), st.floats(), st.integers(), st.from_regex(r"[-+]?[0-9.]+[eE]?[-+]?[0-9]{0,12}[KMBTx]?")
    )
)
def test_any_value_is_a_number_or_a_sentence(value):
    for field in ("count", "real"):
        try:
            number = getattr(Numbers(**{field: value}), field)
        except ValidationError:
            continue
        assert number == number


@given(st.integers(0, 10**15))
def test_format_is_read_back_to_four_digits(count):
    assert parse_count(format_count(count).replace("e+", "e")) == pytest.approx(count, rel=6e-4)
