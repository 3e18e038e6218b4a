"""Weights are kept exactly, at every point: the counts of a mixture against its shares."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.data.mixture import LARGEST_PERIOD, Mixture, describe_mix, whole_parts

weights = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12)


@given(parts=st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_every_source_is_within_one_of_its_share_at_every_point(parts: list[int]) -> None:
    mixture = Mixture({f"{number:02}": part for number, part in enumerate(parts)})
    counts = dict.fromkeys(mixture.names, 0)
    for i in range(2 * mixture.period + 1):
        for name, part in zip(mixture.names, mixture.parts, strict=True):
            assert mixture.count(name, i) == counts[name]
            assert abs(counts[name] * mixture.period - i * part) < mixture.period
        counts[mixture.source(i)] += 1


@given(weights=weights)
def test_the_period_keeps_the_weights_to_one_part_in_ten_thousand(weights: list[float]) -> None:
    parts = whole_parts(weights)
    assert sum(parts) <= LARGEST_PERIOD
    assert min(parts) >= 1
    total = sum(Fraction(str(weight)) for weight in weights)
    for weight, part in zip(weights, parts, strict=True):
        share = Fraction(str(weight)) / total
        kept = max(share, Fraction(1, LARGEST_PERIOD))  # a tiny weight is raised to one part
        assert abs(Fraction(part, sum(parts)) - kept) <= Fraction(len(weights), LARGEST_PERIOD)


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ([1], [1]),
        ([0.7, 0.3], [7, 3]),
        ([2, 2, 4], [1, 1, 2]),
        ([0.1, 0.2, 0.7], [1, 2, 7]),
        ([1e-9, 1], [1, 9999]),
        ([1 / 3, 2 / 3], [1, 2]),
        ([0.123456, 0.876544], [1235, 8765]),
    ],
)
def test_weights_become_whole_parts(weights: list[float], parts: list[int]) -> None:
    assert whole_parts(weights) == parts


def test_the_order_of_names_in_a_config_means_nothing() -> None:
    one, other = Mixture({"a": 3, "b": 2, "c": 1}), Mixture({"c": 1, "a": 3, "b": 2})
    assert [one.source(i) for i in range(12)] == [other.source(i) for i in range(12)]


def test_the_pattern_never_changes() -> None:
    """Golden, and readable: shares 1/2, 1/3, 1/6."""
    mixture = Mixture({"a": 3, "b": 2, "c": 1})
    assert "".join(mixture.source(i) for i in range(12)) == "ababacababac"


def assert_within_one(mixture: Mixture, upto: int) -> None:
    """After every number of sequences, each source's count is less than 1 from its share."""
    taken = np.array([mixture.names.index(mixture.source(i)) for i in range(upto)])
    counts = np.cumsum(np.eye(len(mixture.names), dtype=np.int64)[taken], axis=0)
    shares = np.arange(1, upto + 1)[:, None] * np.array(mixture.parts)
    assert np.abs(counts * mixture.period - shares).max() < mixture.period


@settings(max_examples=15)
@given(weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_any_weights_stay_within_one_of_their_share(weights: list[float]) -> None:
    mixture = Mixture({f"{number:02}": weight for number, weight in enumerate(weights)})
    assert_within_one(mixture, min(2 * mixture.period + 7, 12_000))


@settings(max_examples=15)
@given(numbers=st.lists(st.integers(1, 199), min_size=2, max_size=50))
def test_weights_that_fit_into_a_period_are_kept_without_any_error(numbers: list[int]) -> None:
    """Shares of the weights themselves, not of what they are rounded to."""
    names = [f"{number:02}" for number in range(len(numbers))]
    mixture = Mixture(dict(zip(names, numbers, strict=True)))
    for i in (1, 17, 999, 123_456, 10**12 + 7):
        for name, number in zip(names, numbers, strict=True):
            assert abs(mixture.count(name, i) - Fraction(i * number, sum(numbers))) < 1


def test_fifty_sources_with_one_that_has_nearly_all() -> None:
    weights = {f"{number:02}": 1e-7 for number in range(49)} | {"most": 1.0}
    mixture = Mixture(weights)
    assert_within_one(mixture, 2 * mixture.period)
    assert mixture.count("most", 10**9) == pytest.approx((1 - 49 / LARGEST_PERIOD) * 1e9, abs=1)


def test_the_shares_are_stated_with_their_denominator() -> None:
    assert describe_mix({"web": 0.7, "code": 0.2, "papers": 0.1}) == "web 7, code 2, papers 1 of 10"
    assert describe_mix({"a": 1, "b": 1e-9}) == "a 9,999, b 1 of 10,000"
