"""The experiment's decisions against scipy's own tests, and its page of the results that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from benchmarks.power_law.judge import duels, holds, pooled_spread
from benchmarks.power_law.page import page

DOCS = Path(__file__).parents[2] / "docs"
ONE, OTHER = [3.0, 3.1, 3.05], [3.2, 3.22, 3.4]


def test_a_duel_of_two_is_student_s_test() -> None:
    (duel,) = duels({"one": ONE, "other": OTHER})
    student = stats.ttest_ind(ONE, OTHER)
    assert (duel.winner == "one") == (student.pvalue < 0.05)
    low, high = student.confidence_interval(0.95)
    assert duel.least == pytest.approx((high - low) / 2)
    assert duel.difference == pytest.approx((high + low) / 2)
    assert duel.welch == pytest.approx(stats.ttest_ind(ONE, OTHER, equal_var=False).pvalue)
    spread, freedom = pooled_spread({"one": ONE, "other": OTHER})
    assert freedom == 4
    assert spread**2 == pytest.approx((stats.tvar(ONE) + stats.tvar(OTHER)) / 2)


def test_seeds_that_differ_as_much_as_schedules_make_a_tie() -> None:
    (duel,) = duels({"one": [3.0, 3.4, 3.2], "other": [3.1, 3.3, 3.5]})
    assert duel.winner is None
    assert holds((-0.6, -0.4), -0.51)
    assert not holds((-0.4, -0.3), -0.51)
    assert holds(None, 1.0) is None


def test_the_page_is_that_of_the_results_beside_it() -> None:
    assert page(DOCS) == (DOCS / "power_law.md").read_text(encoding="utf-8")
