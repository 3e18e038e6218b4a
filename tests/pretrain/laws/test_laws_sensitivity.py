"""What a wrong rate costs, the best batch and the schedule's constants, against planted ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretrain.laws.best_batch import growing, tuned_batches
from pretrain.laws.cells import gather
from pretrain.laws.fit_lr import fit_lr
from pretrain.laws.optimum import optimum
from pretrain.laws.power_constants import constant_runs
from pretrain.laws.results import Results, from_arrays
from pretrain.laws.sensitivity import sensitivity

BUDGETS = 1e9 * 4.0 ** np.arange(5)
BETAS = 2.0 ** np.arange(4, 10)
BEND = 0.02


def sweep(*, fading: float = 0.0, skew: float = 0.0, noise: float = 0.0, critical: float = 0.5) -> Results:
    """Valleys that flatten as T^fading, over batches whose best is 64 (T / 1e9)^critical."""
    generator = np.random.default_rng(0)
    rows = []
    for T in BUDGETS:
        for beta in BETAS:
            best = 4.6 * beta * T**-0.51
            for lr in best * 2.0 ** (np.arange(-3, 4) + 0.3):
                x = math.log(lr / best)
                valley = BEND * (T / 1e9) ** fading * x**2 * (1 + skew * x)
                away = math.log(beta / (32 * (T / 1e9) ** critical))
                rows.append((T, beta * 4096, lr, 3 + valley + 0.01 * away**2))
    D, B, lr, loss = np.array(rows).T
    return from_arrays(
        N=1e7, D=D, batch_tokens=B, lr=lr, loss=loss + noise * generator.standard_normal(loss.size)
    )


@pytest.mark.parametrize("skew", [0.0, 0.1])
def test_the_cost_of_a_factor_of_two_is_that_of_the_valley(skew: float) -> None:
    found = sensitivity(fit_lr(sweep(skew=skew)).optima, noise=float("nan"))
    expected = BEND * np.mean([x**2 * (1 + skew * x) for x in (-math.log(2), math.log(2))])
    assert [cost.rise for cost in found.costs] == pytest.approx([expected] * 30, rel=2e-3)
    assert found.tokens is not None
    assert found.tokens.value == pytest.approx(0, abs=1e-4)
    assert found.size is None


def test_valleys_that_flatten_are_seen_to() -> None:
    exact = sensitivity(fit_lr(sweep(fading=-0.2)).optima, noise=float("nan"))
    assert exact.tokens is not None
    assert exact.batch is not None
    assert exact.tokens.value == pytest.approx(-0.2, abs=1e-6)
    assert exact.batch.value == pytest.approx(0, abs=1e-6)
    fit = fit_lr(sweep(fading=-0.2, noise=2e-4))
    noisy = sensitivity(fit.optima, fit.noise)
    assert noisy.tokens is not None
    assert noisy.tokens.interval is not None
    assert noisy.tokens.interval[0] < -0.2 < noisy.tokens.interval[1] < -0.1


def test_the_error_of_a_cost_is_its_spread_over_repetitions() -> None:
    noise, base = 3e-4, sweep()
    rises = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        loss = base.loss + noise * generator.standard_normal(base.loss.size)
        again = from_arrays(N=base.N, D=base.D, batch_tokens=base.batch_tokens, lr=base.lr, loss=loss)
        found = sensitivity([optimum(cell, noise) for cell in gather(again)], noise)
        rises.append([cost.rise for cost in found.costs])
        errors = [cost.rise_se for cost in found.costs]
    assert np.std(rises, axis=0).mean() == pytest.approx(np.mean(errors), rel=0.15)


def test_costs_need_optima() -> None:
    low = from_arrays(N=1e7, D=1e9, batch_tokens=65536, lr=[1e-3, 2e-3, 4e-3], loss=[3.0, 3.1, 3.2])
    assert sensitivity(fit_lr(low).optima, 0.01).costs == ()


def test_best_and_critical_batches() -> None:
    found = tuned_batches(fit_lr(sweep()).optima, tolerance=0.005)
    assert len(found) == len(BUDGETS)
    inside = [one for one in found if one.best is not None]
    assert [one.best for one in inside] == pytest.approx(
        [4096 * 32 * (one.T / 1e9) ** 0.5 for one in inside], rel=1e-5
    )
    # 0.01 log(x)^2 = 0.005 at e^0.707 times the best batch; between points on the grid the line runs above it
    ratios = [one.critical / one.best for one in inside if one.critical]
    assert ratios == pytest.approx([math.exp(0.5**0.5)] * len(ratios), rel=0.1)
    assert len(ratios) > 2
    law = growing([(one.T, one.best) for one in found])
    assert law is not None
    assert law.exponent == pytest.approx(0.5, abs=1e-5)
    assert growing([(1e9, 1e5), (4e9, 2e5), (16e9, None)]) is None


def test_the_best_batch_at_the_edge_is_none() -> None:
    found = tuned_batches(fit_lr(sweep(critical=-0.5)).optima)
    assert found[-1].best is None
    assert found[-1].critical is not None


def test_the_best_exponent_of_a_grid_of_constants() -> None:
    a, b = (grid.ravel() for grid in np.meshgrid([3.0, 4.0, 5.0], np.linspace(-0.6, -0.4, 9)))
    loss = 3 + 5 * (b + 0.513) ** 2 + 0.001 * (a - 4) ** 2
    results = from_arrays(N=1e7, D=8e9, batch_tokens=524288, lr=0.02, loss=loss)
    (run,) = constant_runs(results, a, b)
    assert run.best_exponent == pytest.approx(-0.513, abs=1e-9)
    assert run.over_amplitude()[1] == pytest.approx([loss.min() + 0.001, loss.min(), loss.min() + 0.001])
    assert run.beta == 128


def test_a_best_exponent_at_the_edge_is_none() -> None:
    results = from_arrays(N=1e7, D=8e9, batch_tokens=524288, lr=0.02, loss=[3.0, 3.1, 3.2])
    (run,) = constant_runs(results, np.full(3, np.nan), np.array([-0.6, -0.5, -0.4]))
    assert run.best_exponent is None
