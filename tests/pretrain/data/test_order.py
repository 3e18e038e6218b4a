from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.order import Permutation


@given(size=st.integers(1, 3000), key=st.text(max_size=5))
def test_every_place_comes_once(size: int, key: str) -> None:
    order = Permutation(size, key)
    assert sorted(order[i] for i in range(size)) == list(range(size))


@given(bits=st.integers(10, 70), data=st.data())
def test_sizes_beyond_memory_stay_in_range_and_apart(bits: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(2**bits, 2 ** (bits + 1)))
    places = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=30))
    order = Permutation(size, "0/python/0")
    values = {order[i] for i in places}
    assert len(values) == len(places)
    assert all(0 <= value < size for value in values)


def test_the_order_of_a_key_never_changes() -> None:
    """Golden: another order would make every checkpoint go on with other data."""
    order = Permutation(1000, "0/python/0")
    assert [order[i] for i in range(10)] == [905, 63, 671, 659, 963, 872, 946, 384, 536, 223]
    large = Permutation(10**12, "1/code/3")
    assert [large[i] for i in range(3)] == [263503999117, 29800200408, 614169036750]


def test_the_key_makes_the_order() -> None:
    same = sum(Permutation(5000, "0/a/0")[i] == Permutation(5000, "0/a/1")[i] for i in range(5000))
    assert same < 10  # 1 is expected of independent orders


@pytest.mark.parametrize("size", [1000, 4096, 100_003])
def test_neighbours_are_scattered_as_at_random(size: int) -> None:
    """The mean distance of two random numbers below n is n/3; its standard error here is below n/3/40."""
    order = Permutation(size, "7/books/2")
    num = min(size, 5000) - 1
    distance = sum(abs(order[i + 1] - order[i]) for i in range(num)) / num
    assert distance == pytest.approx(size / 3, rel=0.08)


def test_high_and_low_bits_are_even_over_a_stretch() -> None:
    """A stretch of the order takes from all parts of the data: chi-square over 16 parts, cut both ways."""
    size, num = 2**20 - 3, 8000
    order = Permutation(size, "seed")
    values = [order[i] for i in range(num)]
    for part in (lambda value: value * 16 // size, lambda value: value % 16):
        counts = [0] * 16
        for value in values:
            counts[part(value)] += 1
        chi_square = sum((count - num / 16) ** 2 / (num / 16) for count in counts)
        assert chi_square < 37.7  # 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("place", [-1, 5])
def test_places_outside_are_refused(place: int) -> None:
    with pytest.raises(IndexError):
        Permutation(5, "")[place]
