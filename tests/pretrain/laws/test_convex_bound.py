"""The convex bound: closed forms, the paper's schedules, and extensions as in the authors' runs."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from pretrain.laws import convex
from pretrain.laws.parabola import lowest

DATA = Path(__file__).parent / "data"

SHAPES = {
    "constant": convex.constant,
    "cosine": convex.cosine,
    "wsd": convex.wsd,
    "1-sqrt": partial(convex.wsd, root=True),
    "linear": convex.linear,
}


@pytest.mark.parametrize(
    ("name", "rate", "least"),
    [
        ("constant", 0.018176, 0.137545),
        ("cosine", 0.048242, 0.103386),
        ("wsd", 0.025374, 0.109323),
        ("1-sqrt", 0.026846, 0.107288),
        ("linear", 0.049563, 0.100630),
    ],
)
def test_the_best_rate_and_bound_of_400_updates(name: str, rate: float, least: float) -> None:
    found = convex.bound(SHAPES[name](400))
    assert [found.best_rate, found.best] == pytest.approx([rate, least], abs=6e-7)
    assert found.at(found.best_rate) == pytest.approx(found.best)


def test_the_three_terms_of_a_constant_are_closed_forms() -> None:
    found = convex.bound(0.5 * convex.constant(100))
    harmonic = sum(1 / k for k in range(1, 100))
    assert [found.distance, found.noise, found.last] == pytest.approx([0.01, 0.25, 0.25 * harmonic])
    assert found.last == pytest.approx(1.294344, abs=6e-7)


def test_the_sum_is_the_one_that_the_formula_writes() -> None:
    rates, norms, distance = np.array([0.3, 0.5, 0.2, 0.1]), np.array([1.0, 2.0, 1.5, 0.5]), 3.0
    squares = (rates * norms) ** 2
    last = sum(rates[k] / sum(rates[k + 1 :]) * sum(squares[k:]) / sum(rates[k:]) for k in range(3)) / 2
    found = convex.bound(rates, distance=distance, gradient_norms=norms)
    expected = [distance**2 / 2 / sum(rates), sum(squares) / 2 / sum(rates), last]
    assert [found.distance, found.noise, found.last] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "worst", "least"),
    [
        ("constant", 0.178098, 0.307224),
        ("cosine", 0.133231, 0.272700),
        ("wsd", 0.139602, 0.291030),
        ("linear", 0.129211, 0.264809),
    ],
)
def test_the_worst_function_that_a_solver_finds_is_below(name: str, worst: float, least: float) -> None:
    """After 60 updates at the rate that the bound finds best; the solver's numbers are the authors'."""
    found = convex.bound(SHAPES[name](60)).best
    assert found == pytest.approx(least, abs=6e-7)
    assert worst <= found


@pytest.mark.parametrize(
    ("times", "factor", "cooldown"),
    [(1.5, 0.625, 0.4375), (2, 0.525, 0.634375), (3, 0.425, 0.8875), (4, 0.375, 1.0)],
)
def test_a_run_that_is_extended(times: float, factor: float, cooldown: float) -> None:
    """0.525 and 0.375 are in the configurations of the authors' real runs."""
    longer = int(4000 * times)
    assert convex.extension_factor(4000, longer) == pytest.approx(factor)
    assert convex.extension_cooldown(4000, longer) == pytest.approx(cooldown)


def test_shapes_begin_at_1_and_have_their_length() -> None:
    for shape in SHAPES.values():
        for steps in (2, 7, 400):
            rates = shape(steps)
            assert len(rates) == steps
            assert rates[0] == 1
            assert (np.diff(rates) <= 0).all()
            assert rates[-1] > 0


def test_a_last_rate_of_0_has_no_bound() -> None:
    with pytest.raises(ValueError, match="above 0"):
        convex.bound([1.0, 0.0])


def runs_with_cooldowns() -> dict[float, dict[float, float]]:
    """Final losses of 124M runs of 50,000 updates, by rate and share of the fall; over seeds the mean."""
    found: dict[float, dict[float, list[float]]] = {}
    with (DATA / "lr_scheduling" / "cooldown_124m.csv").open() as file:
        for row in csv.DictReader(file):
            shares = found.setdefault(float(row["lr"]), {})
            shares.setdefault(float(row["share"]), []).append(float(row["loss"]))
    return {rate: {share: mean(losses) for share, losses in shares.items()} for rate, shares in found.items()}


def test_the_bound_picks_the_share_that_real_runs_do_or_the_one_beside_it():
    runs = runs_with_cooldowns()
    best = {rate: min(losses, key=losses.__getitem__) for rate, losses in runs.items()}
    assert best == {1e-4: 0.2, 5e-4: 0.4, 1e-3: 0.6, 3e-3: 0.9}

    shares = sorted(set(runs[1e-3]) - {0.994})  # which falls from the warm-up on
    rates = np.array([5e-4, 1e-3, 3e-3])
    losses = np.array([[runs[rate][0.2] for rate in rates]])
    least = 1e-3 * np.exp(lowest(np.log(rates / 1e-3), losses).vertex[0])
    bounds = {share: convex.bound(convex.wsd(400, share)) for share in shares}

    def place_by_bound(rate: float) -> int:
        base = bounds[0.2].best_rate * rate / least
        return int(np.argmin([bounds[share].at(base) for share in shares]))

    places = [place_by_bound(rate) for rate in runs]
    assert places == sorted(places)
    assert all(abs(place - shares.index(best[rate])) <= 1 for place, rate in zip(places, runs, strict=True))
