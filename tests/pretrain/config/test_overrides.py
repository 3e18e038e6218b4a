"""Overrides: where they reach, and what is said where they cannot."""

from __future__ import annotations

import pytest

from pretrain.config.overrides import apply


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("run.seed=3", {"run": {"name": "x", "seed": 3}}),
        ("mup.router=output", {"mup": {"router": "output"}}),
        ("stages.1.tokens=2M", {"stages": [{"tokens": 1}, {"tokens": "2M", "mix": {"a": 1}}]}),
        ("stages.1.mix={b: 2}", {"stages": [{"tokens": 1}, {"tokens": 1, "mix": {"b": 2}}]}),
        ("stages=[]", {"stages": []}),
        ("run=", {"run": None}),
        ("empty.key=1", {"empty": {"key": 1}}),
        ("run.name=a=b", {"run": {"name": "a=b"}}),
    ],
)
def test_overrides(override, expected):
    document = {
        "run": {"name": "x"},
        "stages": [{"tokens": 1}, {"tokens": 1, "mix": {"a": 1}}],
        "empty": None,
    }
    assert apply(document, [override]) == (document | expected, [])


def test_later_ones_win_and_the_original_stays():
    shared = {"tokens": 1}
    document = {"stages": [shared, shared]}
    changed, problems = apply(document, ["stages.0.tokens=2", "stages.0.tokens=3"])
    assert changed == {"stages": [{"tokens": 3}, {"tokens": 1}]}
    assert document == {"stages": [{"tokens": 1}, {"tokens": 1}]}
    assert not problems


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "should be section.key=value"),
        ("=3", "should be section.key=value"),
        ("run..seed=3", "should be section.key=value"),
        (".".join("a" * 2000) + "=3", "should be section.key=value"),
        ("run.seed=[", "not YAML"),
        ("run.seed={a: 1, a: 2}", "second time"),
        ("stages.2.tokens=1", "stages is a list with items 0 to 1, not '2'"),
        ("stages.-1.tokens=1", "not '-1'"),
        ("stages.first.tokens=1", "not 'first'"),
        ("none.0=1", "none is a list with no items"),
        ("run.name.first=1", "run.name is 'x' and has no keys"),
    ],
)
def test_overrides_that_cannot_be(override, words):
    document = {"run": {"name": "x"}, "stages": [{}, {}], "none": []}
    changed, problems = apply(document, [override, "run.seed=5"])
    assert changed == document | {"run": {"name": "x", "seed": 5}}
    assert len(problems) == 1
    assert words in problems[0]
