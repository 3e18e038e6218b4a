"""YAML: the values we read, the problems we name, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pretrain.config.document import parse, write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("10.5e9", 10.5e9),
        ("1e-3", 1e-3),
        ("010", 10),
        ("true", True),
        ("~", None),
        ("", None),
        ("{1: a, on: b, null: c}", {"1": "a", "on": "b", "null": "c"}),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("[&x [1], *x]", [[1], [1]]),
    ],
)
def test_values(text, value):
    assert parse(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' stands here a second time"),
        ("a:\n  b: 1\n  b: 2", 3, "second time"),
        ("a: 1\n? [x]\n: 2", 2, "should be text"),
        ("a: 1\nb: [", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: b\n\tc: 1", 2, "not YAML"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
        ("a: 1\nb: !!python/object:os.system {}", 2, "does not fit"),
        ("a: !!timestamp 2024-01-01", 1, "could not determine a constructor"),
        ("a: !!int abc", 1, "not a number"),
        ("a: !!int [1]", 1, "does not fit"),
        ("a: !!map x", 1, "does not fit"),
        ("a: " + "9" * 5000, 1, "not a number that can be meant"),
        ("a: 1e999", 1, "not a number that can be meant"),
        ("a: &x [*x]", 1, "not YAML"),
        ("a: *nowhere", 1, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("[" * 5000, 1, "too deeply"),
    ],
)
def test_problems(text, line, words):
    _, problems = parse(text)
    assert len(problems) == 1
    assert problems[0].line == line
    assert words in problems[0].text
    assert "\n" not in problems[0].text


def test_all_duplicates_are_found_at_once():
    _, problems = parse("a: 1\na: 2\nb: {c: 1, c: 2}")
    assert [problem.line for problem in problems] == [2, 3]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@example({"\x85": "\u2028"})
@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert parse(write(value)) == (value, [])


@given(st.text(alphabet="ab1:-?&*!|>%@`'\"#,[]{}<~ .\n\t=", max_size=60))
def test_any_text_is_a_value_or_problems(text):
    value, problems = parse(text)
    assert problems or parse(write(value)) == (value, [])
