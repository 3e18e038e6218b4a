"""What is read after a rewind: others of the same stage, further on, and nothing of what was jumped over."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.jumps import joined, jumps_over
from pretrain.data.training import TrainingData


@dataclass(frozen=True)
class Stage:
    num_sequences: int
    mix: dict[str, float]
    sequence_length: int = 8


STAGES = [(40, {"a": 3.0, "b": 1.0}), (30, {"a": 1.0, "c": 1.0}), (50, {"b": 1.0})]
SIZES = {"a": 97, "b": 89, "c": 83}
STARTS = [0, 40, 70, 120]
WHERE = st.tuples(st.integers(0, 118), st.integers(1, 40), st.integers(0, 20)).map(
    lambda drawn: (drawn[0], min(119, drawn[0] + drawn[1]), drawn[2])
)


def training() -> TrainingData:
    """Three stages of three sources."""
    sources = {
        name: SimpleNamespace(train=SimpleNamespace(tokens=np.arange(num * 8 + 1, dtype=np.int32)))
        for name, num in SIZES.items()
    }
    corpus: Any = SimpleNamespace(sources=sources)
    return TrainingData(corpus, [Stage(num, mix) for num, mix in STAGES], seed=0)


def stage_of(i: int) -> int:
    return next(stage for stage in range(3) if i < STARTS[stage + 1])


@given(WHERE)
def test_what_is_read_behind_a_jump_is_what_would_have_come_behind_it(where: tuple[int, int, int]) -> None:
    first, last, more = where
    plain = training()
    ahead = plain.without(plain.jumps_over(first, last, more))
    assert [plain.origin(i) for i in range(first)] == [ahead.origin(i) for i in range(first)]
    if stage_of(first) == stage_of(last - 1):
        gone = {plain.origin(i) for i in range(first, last)}
        assert not gone & {ahead.origin(i) for i in range(first, 120)}
    for i in range(120):
        assert ahead.origin(i).source in STAGES[stage_of(i)][1], "a batch reads its own stage"


@given(WHERE)
def test_within_a_stage_the_order_goes_on_exactly_behind_it(where: tuple[int, int, int]) -> None:
    first, last, more = (70 + where[0] % 40, 112, where[2])
    plain = training()
    ahead = plain.without(plain.jumps_over(first, last, more))
    far = last - first + more
    assert [ahead.origin(i) for i in range(first, 120)] == [plain.origin(i + far) for i in range(first, 120)]


@given(WHERE, WHERE)
def test_jumps_add_up_and_none_is_none(one: tuple[int, int, int], two: tuple[int, int, int]) -> None:
    plain = training()
    both = joined([*plain.jumps_over(*one), *plain.jumps_over(*two)])
    assert sum(count for _, count in both) == sum(last - first + more for first, last, more in (one, two))
    assert len({at for at, _ in both}) == len(both)
    assert plain.without([]).read_before(119) == plain.read_before(119)


def test_a_jump_over_a_stages_end_is_one_in_each() -> None:
    assert list(jumps_over(STARTS, 30, 75, more := 8)) == [[30, 10], [40, 30], [70, 5 + more]]
    assert list(jumps_over(STARTS, 30, 40, 8)) == [[30, 18]]
