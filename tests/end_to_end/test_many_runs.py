"""Short runs in a row all end with exit code 0."""

from __future__ import annotations

import pytest
from many_runs import many_runs
from trial import Trial

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(600)]


def test_twelve_runs_in_a_row(trial: Trial) -> None:
    assert many_runs(trial, 12) == {"exit code 0, finished": 12}
