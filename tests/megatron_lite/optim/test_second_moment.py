"""The second moment by tokens: what an update forgets, and how far torch's bias correction is off."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.optim.options import AdamWOptions, Beta2Options
from megatron_lite.optim.second_moment import SecondMoment, second_moment

batches = st.lists(st.integers(1, 10**7), min_size=1, max_size=60)


def by_tokens(half_life: int) -> AdamWOptions:
    return AdamWOptions(adam_beta2=Beta2Options(half_life_tokens=half_life))


def moments_of(sizes: Sequence[int], options: AdamWOptions, start: int = 0) -> list[SecondMoment]:
    """The second moment of every update of these batches, the moments beginning at `start` tokens."""
    found = [
        second_moment(
            options,
            step=step,
            tokens_before=start + sum(sizes[: step - 1]),
            batch_tokens=size,
            moments_from=start,
        )
        for step, size in enumerate(sizes, 1)
    ]
    assert all(found)
    return [moment for moment in found if moment]


def test_the_half_life_of_0_95() -> None:
    """Half-life of beta2 0.95 at a batch of 524288, and what an eighth of the batch makes of it."""
    half_life = -524288 * math.log(2) / math.log(0.95)
    assert half_life == pytest.approx(7.0849e6, abs=50)
    options = by_tokens(round(half_life))
    whole, eighth = moments_of([524288], options)[0], moments_of([524288 // 8], options)[0]
    assert whole.beta2 == pytest.approx(0.95, rel=1e-7)
    assert eighth.beta2 == pytest.approx(0.993609, abs=5e-7)


@given(sizes=batches, half_life=st.integers(10**4, 10**10))
def test_the_same_tokens_forget_the_same(sizes: list[int], half_life: int) -> None:
    """However they were cut: the product of all beta2, and so the correction, is that of the tokens."""
    options = by_tokens(half_life)
    moments = moments_of(sizes, options)
    kept = math.fsum(-size / half_life for size in sizes)
    assert math.fsum(math.log2(moment.beta2) if moment.beta2 else -math.inf for moment in moments) == (
        pytest.approx(kept, rel=1e-6, abs=1e-12)
    )
    last = moments[-1]
    corrected = (1 - last.beta2 ** len(sizes)) / last.scale**2
    assert corrected == pytest.approx(-math.expm1(math.log(2) * kept), rel=1e-9)


@given(size=st.integers(1000, 10**7), updates=st.integers(1, 3000), half_life=st.integers(10**5, 10**10))
def test_the_scale_is_one_under_a_constant_batch(size: int, updates: int, half_life: int) -> None:
    options = by_tokens(half_life)
    moment = second_moment(options, step=updates, tokens_before=(updates - 1) * size, batch_tokens=size)
    assert moment
    assert moment.scale == pytest.approx(1, abs=1e-8)


@given(sizes=batches, start=st.integers(0, 10**12))
def test_moments_that_begin_late_are_as_if_they_began_at_nothing(sizes: list[int], start: int) -> None:
    assert moments_of(sizes, by_tokens(10**7), start) == moments_of(sizes, by_tokens(10**7))


@pytest.mark.parametrize("half_life", [0, -5, 2.5, "2e15", None])
def test_impossible_half_lives_are_refused(half_life: object) -> None:
    with pytest.raises(ValueError, match="half_life_tokens"):
        AdamWOptions.model_validate({"adam_beta2": {"half_life_tokens": half_life}})


def test_a_half_life_is_written_as_any_count() -> None:
    options = AdamWOptions.model_validate({"adam_beta2": {"half_life_tokens": "7.1M"}})
    assert options.adam_beta2 == Beta2Options(half_life_tokens=7_100_000)
