"""The annealing law: closed forms of its sums, a law that was planted, and its paper's points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.errors import UserError
from pretrain.laws.annealing import Annealing, prepared, sums
from pretrain.laws.best_schedule import best_schedule
from pretrain.laws.curves import Curve
from pretrain.laws.fit_curves import fit_law

POINTS = Path(__file__).parent / "data" / "annealing" / "cosine_and_constant_20k.csv"
LAW = Annealing(L0=2.6, A=0.43, alpha=0.55, C=0.4)


def test_one_fall_is_remembered_as_a_geometric_series() -> None:
    rates = np.concatenate([np.full(100, 1e-3), np.full(400, 2e-4)])
    total, fallen = sums(rates, 0.99)
    seen = np.arange(1, 401)
    assert fallen[:100].tolist() == [0] * 100
    assert fallen[100:] == pytest.approx(8e-4 * (1 - 0.99**seen) / 0.01)
    assert total[[99, 499]] == pytest.approx([0.1, 0.18])


def test_a_warmup_counts_at_the_rate_that_it_ends_with() -> None:
    rates = np.concatenate([1e-3 * np.arange(50) / 50, np.full(50, 1e-3)])
    total, fallen = sums(rates, 0.999)
    assert total == pytest.approx(1e-3 * np.arange(1, 101))
    assert not fallen.any()


def planted(name: str, rates: np.ndarray) -> Curve:
    steps = np.arange(50, len(rates), 10)
    return Curve(name=name, rates=rates, steps=steps, losses=LAW.losses(rates, steps))


def planted_curves() -> list[Curve]:
    cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(2000) / 2000)) / 2
    return [planted("cosine", cosine), planted("constant", np.full(2000, 1e-3))]


def test_a_planted_law_is_recovered() -> None:
    found = fit_law(planted_curves(), "annealing", num_refits=2)
    for law in (found.law, *found.refits):
        assert isinstance(law, Annealing)
        values = [law.L0, law.A, law.alpha, law.C]
        assert values == pytest.approx([2.6, 0.43, 0.55, 0.4], rel=1e-3)


def published() -> list[Curve]:
    """The 40 losses that the law's paper fits: a cosine to 0 and a constant rate."""
    step, cosine, constant = np.loadtxt(POINTS, delimiter=",", skiprows=1, unpack=True)
    fallen = np.clip((np.arange(20001) - 500) / 19500, 0, 1)
    rates = 2e-4 * (1 + np.cos(np.pi * fallen)) / 2
    flat = np.full(20001, 2e-4)
    return [
        Curve(name="cosine", rates=rates, steps=step.astype(np.int64), losses=cosine),
        Curve(name="constant", rates=flat, steps=step.astype(np.int64), losses=constant),
    ]


def test_the_papers_constants_are_found_from_its_points() -> None:
    curves = published()
    law = fit_law(curves, "annealing", num_refits=0).law
    assert isinstance(law, Annealing)
    assert [law.L0, law.A, law.alpha, law.C] == pytest.approx([2.628, 0.430, 0.550, 0.411], abs=0.002)
    losses = np.concatenate([curve.losses for curve in curves])
    missed = losses - np.concatenate([law.losses(curve.rates, curve.steps) for curve in curves])
    assert 1 - (missed**2).sum() / ((losses - losses.mean()) ** 2).sum() >= 0.9996


def test_another_memory_is_another_law() -> None:
    found = fit_law(planted_curves(), "annealing", memory=0.99, num_refits=0)
    assert isinstance(found.law, Annealing)
    assert found.law.memory == 0.99
    assert found.objective is not None
    assert found.objective > 1e-4  # the planted one has 0.999


def test_derivatives_are_those_of_the_losses() -> None:
    one = prepared(planted_curves()[0], 1e-3, 2000)
    theta = np.log([2.6, 0.5, 0.55, 4e-4])
    for index, move in enumerate(1e-6 * np.eye(4)):
        slope = (one.losses(theta + move)[0] - one.losses(theta - move)[0]) / 2e-6
        assert one.losses(theta)[1][:, index] == pytest.approx(slope, abs=1e-7)


def test_it_is_not_asked_for_a_schedule() -> None:
    with pytest.raises(UserError, match="sudden fall to 0"):
        best_schedule(fit_law(planted_curves(), "annealing", num_refits=0), steps=100, peak=1e-3)


def test_what_curves_cannot_tell_is_refused() -> None:
    cosine, constant = planted_curves()
    with pytest.raises(UserError, match="in no curve does the learning rate fall"):
        fit_law([constant])
    with pytest.raises(UserError, match="2 losses in all"):
        fit_law([Curve(name="a", rates=cosine.rates, steps=cosine.steps[:2], losses=cosine.losses[:2])])
    with pytest.raises(UserError, match="no curves"):
        fit_law([])
    up = Curve(name="up", rates=cosine.rates, steps=cosine.steps, losses=cosine.losses[::-1].copy())
    with pytest.raises(UserError, match=r"up: the loss rises .* diverged"):
        fit_law([cosine, up])


def test_one_curve_makes_no_confident_law() -> None:
    alone = fit_law(planted_curves()[:1], "annealing", num_refits=0)
    assert not alone.left_out
    assert "one curve does not tell" in alone.notes[0]
    both = fit_law(planted_curves(), "annealing", num_refits=0)
    assert [one.name for one in both.left_out] == ["constant"]  # a constant alone cannot predict the cosine
    assert "untested" in both.notes[0]
