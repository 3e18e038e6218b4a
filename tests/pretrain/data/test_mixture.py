from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.mixture import LARGEST_PERIOD, Mixture, whole_parts

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
