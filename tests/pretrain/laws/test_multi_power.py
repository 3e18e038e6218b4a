"""The Multi-Power Law against its definition written out, its derivatives, and a law that was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretrain.laws.curves import Curve, Floats
from pretrain.laws.fit_curves import fit_law
from pretrain.laws.multi_power import MultiPower
from pretrain.laws.multi_power_blocks import blocks, from_units, to_units

LAW = MultiPower(L0=2.5, A=0.5, alpha=0.5, B=40.0, C=1.5, beta=0.5, gamma=0.6)


def written_out(law: MultiPower, rates: Floats, step: int) -> float:
    gained = 0.0
    for k in range(1, step + 1):
        after = sum(rates[k : step + 1])
        saturated = 1 - (1 + law.C * max(rates[k], 1e-10) ** -law.gamma * after) ** -law.beta
        gained += (rates[k - 1] - rates[k]) * saturated
    return law.L0 + law.A * sum(rates[: step + 1]) ** -law.alpha - law.B * gained


def warm(after: Floats, peak: float, steps: int) -> Floats:
    return np.concatenate([peak * np.arange(steps) / steps, after])


def cosine(steps: int, peak: float, end: float = 0.1) -> Floats:
    x = np.arange(steps) / steps
    return peak * (end + (1 - end) * (1 + np.cos(np.pi * x)) / 2)


def sampled(name: str, rates: Floats, law: MultiPower = LAW, noise: float = 0.0) -> Curve:
    steps = np.arange(120, len(rates), 20)
    random = np.random.default_rng(len(name))
    losses = law.losses(rates, steps) * np.exp(noise * random.standard_normal(len(steps)))
    return Curve(name=name, rates=rates, steps=steps, losses=losses)


def planted(peak: float, noise: float = 0.0) -> list[Curve]:
    step = np.concatenate([np.full(900, peak), np.full(900, 0.3 * peak)])
    shapes = {"cosine": cosine(2000, peak), "constant": np.full(2000, peak), "step": step}
    return [sampled(name, warm(rates, peak, 100), noise=noise) for name, rates in shapes.items()]


@pytest.mark.parametrize("end", [0.1, 0.0])
def test_the_loss_is_the_sum_that_defines_it(end: float) -> None:
    rates = np.append(warm(cosine(120, 2e-3, end), 2e-3, 20), [2e-3 * end] * 5)
    steps = np.array([1, 19, 60, 139, 144])
    assert LAW.losses(rates, steps) == pytest.approx([written_out(LAW, rates, t) for t in steps], rel=1e-12)


def test_a_rate_of_0_leaves_the_loss_where_it_is() -> None:
    rates = np.concatenate([np.full(50, 1e-3), np.zeros(50)])
    losses = LAW.losses(rates, np.array([49, 50, 99]))
    assert losses[1] == losses[2] == losses[0]


def test_a_constant_rate_is_a_power_of_the_updates() -> None:
    steps = np.array([10, 100, 1000])
    losses = LAW.losses(np.full(1001, 1e-3), steps)
    assert losses == pytest.approx(2.5 + 0.5 * (1e-3 * (steps + 1)) ** -0.5)


def test_many_steps_are_lines_between_exact_ones() -> None:
    rates = warm(cosine(5000, 1e-3), 1e-3, 100)
    every, some = np.arange(200, 5000), np.array([201, 1234, 4321])
    assert LAW.losses(rates, every)[some - 200] == pytest.approx(LAW.losses(rates, some), abs=2e-4)


def test_blocks_lose_less_than_a_losss_fourth_decimal() -> None:
    for one in planted(2e-3):
        losses, _ = blocks(one, 2e-3, 2000).losses(to_units(LAW, 2e-3, 2000))
        assert losses == pytest.approx(LAW.losses(one.rates, one.steps), abs=5e-5)


def test_derivatives_are_those_of_the_losses() -> None:
    theta, apart = to_units(LAW, 2e-3, 2000), 1e-6
    for one in planted(2e-3):
        prepared = blocks(one, 2e-3, 2000)
        for index, move in enumerate(apart * np.eye(7)):
            slope = (prepared.losses(theta + move)[0] - prepared.losses(theta - move)[0]) / (2 * apart)
            assert prepared.losses(theta)[1][:, index] == pytest.approx(slope, abs=1e-7)


def test_units_go_there_and_back() -> None:
    again = from_units(to_units(LAW, 3e-4, 777), 3e-4, 777)
    for name in ("L0", "A", "alpha", "B", "C", "beta", "gamma"):
        assert getattr(again, name) == pytest.approx(getattr(LAW, name), rel=1e-12)


@pytest.mark.parametrize("peak", [2e-3, 0.03])
def test_a_planted_law_predicts_schedules_that_it_was_not_fitted_to(peak: float) -> None:
    """At the scale of Adam's rates and of those under µP; with exponents that no prior expects."""
    fitted = fit_law(planted(peak), num_refits=0)
    wsd = warm(np.append(np.full(1600, peak), peak * (1 - np.arange(400) / 400)), peak, 100)
    for rates in (wsd, warm(cosine(3000, peak, 0.0), peak, 100)):
        steps = np.array([500, 1500, 1900, len(rates) - 1])
        assert fitted.law.losses(rates, steps) == pytest.approx(LAW.losses(rates, steps), abs=2e-3)
    assert fitted.objective is not None
    assert fitted.objective < 1e-6


def test_noise_stays_within_the_band() -> None:
    peak = 2e-3
    fitted = fit_law(planted(peak, noise=2e-3), num_refits=5)
    unseen = warm(np.append(np.full(1600, peak), peak * (1 - np.arange(400) / 400)), peak, 100)
    band = fitted.predict(unseen, np.arange(200, 2100, 10))
    truth = LAW.losses(unseen, np.arange(200, 2100, 10))
    inside = (band.low <= truth) & (truth <= band.high)
    assert inside.mean() > 0.9
    assert math.log(band.high[-1] / band.low[-1]) < 0.02  # and says something
