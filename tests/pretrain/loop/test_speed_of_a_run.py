"""The speed in a summary: means over time, of what the record knows."""

from __future__ import annotations

import pytest

from pretrain.loop.finish import _speed
from pretrain.monitor.meter import Speed


def line(seconds: float, tokens_per_second: float, mfu: float | None) -> dict[str, float | None]:
    return {"seconds": seconds, "tokens_per_second": tokens_per_second, "mfu": mfu}


def test_updates_of_which_no_share_of_the_peak_is_known_are_no_part_of_its_mean() -> None:
    found = _speed([line(1, 100, 0.4), line(3, 20, None), line(3, 300, 0.2)])
    assert found.tokens_per_second == pytest.approx((100 + 60 + 900) / 7)
    assert found.mfu == pytest.approx((0.4 + 0.6) / 4)
    assert _speed([line(1, 100, None)]) == Speed(tokens_per_second=100.0, mfu=None)


def test_a_run_whose_times_were_moved_away_has_a_summary() -> None:
    assert _speed([]) == Speed(tokens_per_second=0.0, mfu=None)
