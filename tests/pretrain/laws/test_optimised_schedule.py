"""The optimised schedule: its derivatives, that nothing plain beats it, and its table as a schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.config.from_file import FromFile
from pretrain.errors import UserError
from pretrain.laws import rate_table
from pretrain.laws.multi_power import MultiPower
from pretrain.laws.optimised import Pieces, final, optimise
from pretrain.laws.schedule_rates import schedule_rates

LAW = MultiPower(L0=2.5, A=0.5, alpha=0.5, B=40.0, C=1.5, beta=0.5, gamma=0.6)
PEAK, STEPS = 2e-3, 3000


def test_the_derivatives_are_those_of_the_last_loss() -> None:
    pieces = Pieces(peak=PEAK, before=0.3, counts=np.array([100.0, 50, 20, 5]))
    rates = np.array([1.9e-3, 1e-3, 9e-4, 1e-4])
    for index, move in enumerate(1e-9 * np.eye(4)):
        slope = (final(LAW, pieces, rates + move)[0] - final(LAW, pieces, rates - move)[0]) / 2e-9
        assert final(LAW, pieces, rates)[1][index] == pytest.approx(slope, rel=1e-5)


def test_pieces_of_one_update_are_the_law_itself() -> None:
    rates = PEAK * np.linspace(1, 0.1, 50)
    pieces = Pieces(peak=PEAK, before=10 * PEAK, counts=np.ones(50))
    whole = np.append(np.full(10, PEAK), rates)
    assert final(LAW, pieces, rates)[0] == pytest.approx(LAW.losses(whole, np.array([59]))[0], rel=1e-12)


def test_no_plain_schedule_is_better() -> None:
    found = optimise(LAW, steps=STEPS, peak=PEAK)
    rates = found.rates[1:]
    assert len(rates) == STEPS
    assert (np.diff(rates) <= 0).all()
    assert rates[0] == pytest.approx(PEAK)
    x = np.arange(STEPS) / STEPS
    pieces = Pieces(peak=PEAK, before=0.0, counts=np.ones(STEPS))
    plain = [PEAK * (1 - x), PEAK * (1 + np.cos(np.pi * x)) / 2]
    plain += [
        PEAK * np.minimum(1, (1 - x) / share) ** power
        for share in (0.05, 0.1, 0.2, 0.3, 0.5)
        for power in (1, 1.5, 2)
    ]
    best = final(LAW, pieces, rates)[0]
    assert best == pytest.approx(found.searched_loss, abs=2e-4)
    assert best < min(final(LAW, pieces, one)[0] for one in plain)
    assert found.constant_loss == pytest.approx(2.5 + 0.5 * (PEAK * STEPS) ** -0.5)


def test_the_table_is_the_schedule(tmp_path: Path) -> None:
    found = optimise(LAW, steps=STEPS, peak=PEAK, warmup_steps=100)
    rate_table.write(tmp_path / "my.csv", found.rates, 64)
    read = FromFile.model_validate({"name": "from_file", "path": str(tmp_path / "my.csv")})
    again = schedule_rates(read, tokens=STEPS * 64, batch_tokens=64)
    assert again == pytest.approx(found.rates, abs=1e-5 * PEAK)
    assert found.rates[1:101] == pytest.approx(PEAK * np.arange(100) / 100)


@pytest.mark.parametrize(("peak", "warmup"), [(0.0, 0), (float("nan"), 0), (PEAK, STEPS - 1)])
def test_what_has_no_schedule_is_refused(peak: float, warmup: int) -> None:
    with pytest.raises(UserError, match="should"):
        optimise(LAW, steps=STEPS, peak=peak, warmup_steps=warmup)
