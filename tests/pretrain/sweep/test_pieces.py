"""What budgets share: every token of a run is trained once, and a branch begins where its decay does."""

from __future__ import annotations

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from pretrain.sweep.options import Part
from pretrain.sweep.pieces import lengths, shared, whole

BUDGETS = st.lists(st.integers(20, 10_000).map(lambda k: k * 64), min_size=1, max_size=6, unique=True)


def tokens_of(piece) -> list[tuple[int, int]]:
    """From where to where a piece and its parents train."""
    above = tokens_of(piece.parent) if piece.parent else []
    return [*above, (piece.end - piece.own_tokens, piece.end)]


def test_two_budgets_by_hand() -> None:
    found = list(shared(lengths([1000, 2000], 100, Part(share=0.1)), {1000, 2000}))
    assert [(piece.name, piece.own_tokens, piece.decay) for piece in found] == [
        ("trunk900", 900, 0),
        ("d1000", 100, 100),
        ("trunk1800", 900, 0),
        ("d2000", 200, 200),
    ]
    assert [piece.parent.name if piece.parent else None for piece in found] == [
        None,
        "trunk900",
        "trunk900",
        "trunk1800",
    ]


@given(budgets=BUDGETS, share=st.floats(0.01, 0.5), batch=st.sampled_from([64, 256]))
def test_every_run_is_trained_from_0_to_its_end_and_decays_where_it_should(budgets, share, batch) -> None:
    try:
        found = lengths(budgets, batch, Part(share=share))
    except ValueError:  # of which the last test speaks
        reject()
    pieces = list(shared(found, set(budgets)))
    points = {piece.budget: piece for piece in pieces if piece.budget is not None}
    assert points.keys() == set(budgets)
    for length in found:
        point = points[length.budget]
        spans = tokens_of(point)
        assert [spans[0][0], *(end for _, end in spans)] == [*(begin for begin, _ in spans), length.end]
        assert point.own_tokens == point.decay == length.decay
        assert length.budget <= length.end < length.budget + batch
    trunk = [piece for piece in pieces if piece.is_trunk]
    assert sum(piece.own_tokens for piece in trunk) == max(length.end - length.decay for length in found)


@given(budgets=BUDGETS)
def test_without_decay_the_trunk_itself_is_the_result(budgets) -> None:
    pieces = list(shared(lengths(budgets, 64, Part(share=0)), set(budgets)))
    assert [piece.budget for piece in pieces] == sorted(budgets)
    assert sum(piece.own_tokens for piece in pieces) == max(budgets)
    assert all(piece.is_trunk for piece in pieces)


@given(budgets=BUDGETS)
def test_whole_runs_share_nothing(budgets) -> None:
    pieces = list(whole(lengths(budgets, 64, Part(tokens=64)), set(budgets)))
    assert [piece.own_tokens for piece in pieces] == sorted(budgets)
    assert not any(piece.parent or piece.is_trunk for piece in pieces)


def test_a_budget_added_later_leaves_the_names_of_the_others() -> None:
    few = {piece.name for piece in shared(lengths([1000, 4000], 100, Part(share=0.1)), {1000, 4000})}
    more = {
        piece.name for piece in shared(lengths([1000, 2000, 4000], 100, Part(share=0.1)), {1000, 2000, 4000})
    }
    assert few < more


@pytest.mark.parametrize(
    ("budgets", "batch", "words"),
    [
        ([1000, 1001], 512, "1000 and 1001 tokens are both 2 batches"),
        ([100], 100, "nothing is left before it"),
    ],
)
def test_what_cannot_be(budgets, batch, words) -> None:
    with pytest.raises(ValueError, match=words):
        lengths(budgets, batch, Part(share=0.1))
