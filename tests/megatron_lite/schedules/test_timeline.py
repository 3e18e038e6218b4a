"""Tokens, steps and sequences: each found from each, against a walk that takes one update at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.batch_schedules import Doubling, LinearInTokens, Ramp
from megatron_lite.schedules.timeline import Point, Segment, Timeline, Update, joined, stretch

STARTS = (Point(), Point(step=7, tokens=1234, sequence=56))


def walked(start: Point, tokens: int, sequences_at: Callable[[int], int], length: int) -> list[Update]:
    """One update after the other, as a loop would make them."""
    updates, end = [], start.tokens + tokens
    while start.tokens < end:
        update = Update(
            step=start.step,
            tokens=start.tokens,
            sequence=start.sequence,
            sequences=sequences_at(start.tokens),
            sequence_length=length,
        )
        updates.append(update)
        start = update.after
    return updates


@st.composite
def stretches(draw):
    """A start, some tokens, and a batch that grows."""
    first = draw(st.integers(1, 6))
    schedule = draw(
        st.one_of(
            st.builds(Ramp, max_sequences=st.just(first * 5), tokens=st.integers(1, 3000)),
            st.builds(LinearInTokens, max_sequences=st.just(first * 9), from_tokens=st.integers(1, 900)),
            st.builds(
                Doubling,
                at_tokens=st.sets(st.integers(1, 3000), min_size=1, max_size=3).map(sorted).map(tuple),
            ),
        )
    )
    start, tokens, length = draw(st.sampled_from(STARTS)), draw(st.integers(1, 3000)), draw(st.integers(1, 9))
    return start, tokens, lambda n: schedule.sequences_at(n, first), length


@given(stretches())
def test_segments_are_the_walk_taken_in_one(case) -> None:
    start, tokens, sequences_at, length = case
    walk = walked(start, tokens, sequences_at, length)
    timeline = Timeline(
        segments=tuple(stretch(start, tokens=tokens, sequences_at=sequences_at, sequence_length=length))
    )
    assert [timeline.update(update.step) for update in walk] == walk
    assert timeline.end == walk[-1].after
    for before, after in zip(timeline.segments, timeline.segments[1:], strict=False):
        assert before.end == Point(
            step=after.first_step, tokens=after.first_tokens, sequence=after.first_sequence
        )
        assert before.sequences < after.sequences


@given(stretches(), st.data())
def test_each_is_found_from_each(case, data) -> None:
    start, tokens, sequences_at, length = case
    timeline = Timeline(
        segments=tuple(stretch(start, tokens=tokens, sequences_at=sequences_at, sequence_length=length))
    )
    n = data.draw(st.integers(start.tokens, timeline.end.tokens - 1))
    update = timeline.update_at_tokens(n)
    assert update.tokens <= n < update.after.tokens
    i = data.draw(st.integers(start.sequence, timeline.end.sequence - 1))
    other = timeline.update_at_sequence(i)
    assert other.sequence <= i < other.after.sequence
    for found in (update, other):
        assert timeline.update_at_tokens(found.tokens) == found
        assert timeline.update_at_tokens(found.after.tokens - 1) == found
        assert timeline.update_at_sequence(found.sequence) == found
        assert timeline.update(found.step) == found


def test_no_update_outside_of_a_run() -> None:
    timeline = Timeline(
        segments=tuple(stretch(STARTS[1], tokens=100, sequences_at=lambda n: 5, sequence_length=4))
    )
    assert (timeline.end.step, timeline.end.tokens, timeline.end.sequence) == (12, 1334, 81)
    for find, outside in (
        (timeline.update, (6, 12)),
        (timeline.update_at_tokens, (1233, 1334)),
        (timeline.update_at_sequence, (55, 81)),
    ):
        for number in outside:
            with pytest.raises(IndexError):
                find(number)


@given(stretches(), st.data())
def test_a_cut_is_what_was_before_it(case, data) -> None:
    start, tokens, sequences_at, length = case
    timeline = Timeline(
        segments=tuple(stretch(start, tokens=tokens, sequences_at=sequences_at, sequence_length=length))
    )
    step = data.draw(st.integers(start.step, timeline.end.step))
    before = timeline.before(step)
    assert [Timeline(segments=before).update(k) for k in range(start.step, step)] == [
        timeline.update(k) for k in range(start.step, step)
    ]
    assert sum(segment.steps for segment in before) == step - start.step


def test_joined_is_the_same_in_fewer() -> None:
    parts = [
        Segment(first_step=0, first_tokens=0, first_sequence=0, steps=2, sequences=3, sequence_length=4),
        Segment(first_step=2, first_tokens=24, first_sequence=6, steps=1, sequences=3, sequence_length=4),
        Segment(first_step=3, first_tokens=36, first_sequence=9, steps=1, sequences=3, sequence_length=8),
    ]
    assert [part.steps for part in joined(parts)] == [3, 1]
    assert joined(parts)[0].end.tokens == 36


def test_a_batch_larger_than_the_run_is_one_update() -> None:
    (segment,) = stretch(Point(), tokens=10, sequences_at=lambda n: 64, sequence_length=512)
    assert (segment.steps, segment.end.tokens) == (1, 64 * 512)
