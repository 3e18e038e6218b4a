"""Configs mutated at random, planned by the command; docs/reliability.md shows a longer loop of this."""

from __future__ import annotations

from mutants import PLANNED, REFUSED, answers


def test_mutated_configs_are_planned_or_refused():
    counted = answers(50, first=1)
    assert set(counted) <= {PLANNED, REFUSED}
    assert sum(counted.values()) >= 50
