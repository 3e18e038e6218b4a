"""Configs mutated at random, planned by the command: a tenth of what docs/reliability.md shows."""

from __future__ import annotations

from mutants import PLANNED, REFUSED, answers


def test_mutated_configs_are_planned_or_refused():
    counted = answers(50, first=1)
    assert set(counted) <= {PLANNED, REFUSED}
    assert sum(counted.values()) >= 50
