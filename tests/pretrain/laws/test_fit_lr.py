"""Laws of the learning rate: planted ones come back, and what cannot be told is not told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pretrain.laws.cells import gather, together
from pretrain.laws.fit_lr import LrFit, fit_lr
from pretrain.laws.lr_view import block, laws_table, optima_table, to_json, words
from pretrain.laws.optimum import optimum
from pretrain.laws.parabola import common_skew, lowest
from pretrain.laws.results import Results, from_arrays

BUDGETS = 1e9 * 4.0 ** np.arange(5)
BETAS = (16, 32, 64, 128)


def sweep(
    *,
    a: float = 4.6,
    b: float = -0.51,
    batch: float = 1.0,
    size: float = 0.0,
    skew: float = 0.0,
    noise: float = 0.0,
    budgets: object = BUDGETS,
    betas: tuple[int, ...] = BETAS,
    sizes: tuple[float, ...] = (6e6, 96e6),
    rates: Callable[[float], np.ndarray] = lambda best: best * 2.0 ** (np.arange(-3, 4) + 0.3),
    seeds: int = 1,
    seed: int = 0,
) -> Results:
    """A sweep whose optimum is a beta^batch T^b (N / 6e6)^size; the middle batch is the best one."""
    generator = np.random.default_rng(seed)
    rows = []
    for N in sizes:
        for T in np.asarray(budgets, float):
            for beta in betas:
                best = a * beta**batch * T**b * (N / 6e6) ** size
                for lr in rates(best):
                    x = math.log(lr / best)
                    loss = 3 + 0.02 * x**2 * (1 + skew * x) + 0.01 * math.log(beta / 40) ** 2
                    rows += [(N, T, beta * 4096, lr, loss)] * seeds
    N, D, B, lr, loss = np.array(rows).T
    loss = loss + noise * generator.standard_normal(loss.size)
    return from_arrays(N=N, D=D, batch_tokens=B, lr=lr, loss=loss)


def test_an_exact_parabola_is_answered_exactly() -> None:
    fit = fit_lr(sweep())
    assert fit.together is not None
    assert fit.together.amplitude == pytest.approx(4.6, rel=1e-6)
    assert fit.together.exponent == pytest.approx(-0.51, abs=1e-7)
    assert fit.schedule is not None
    assert (fit.schedule.amplitude, fit.schedule.exponent) == (4.6, -0.51)
    assert len(fit.by_size) == 2
    assert not fit.missing


def test_a_skew_that_all_cells_share_is_taken_off() -> None:
    fit = fit_lr(sweep(skew=0.1))
    assert fit.together is not None
    assert fit.together.amplitude == pytest.approx(4.6, rel=1e-3)
    assert fit.together.exponent == pytest.approx(-0.51, abs=1e-4)


def test_the_skew_of_cubics_and_their_lowest_points() -> None:
    x = np.log(2.0) * np.arange(-2, 3)
    losses = np.array([3 + 0.02 * ((x - v) ** 2 + 0.15 * (x - v) ** 3) for v in np.linspace(-0.3, 0.3, 7)])
    assert common_skew((x, row) for row in losses) == pytest.approx(0.15, abs=1e-9)
    found = lowest(x, losses, 0.15)
    assert found.vertex == pytest.approx(np.linspace(-0.3, 0.3, 7), abs=1e-5)
    assert found.level == pytest.approx(np.full(7, 3.0), abs=1e-7)
    assert common_skew([(x, losses[0])]) == 0  # one cell cannot tell a skew from noise


@settings(max_examples=8)
@given(
    first=st.floats(1e-5, 1e-3),
    b=st.floats(-0.7, -0.2),
    batch=st.sampled_from([0.5, 0.75, 1.0]),
    size=st.sampled_from([0.0, -0.3]),
    noise=st.floats(1e-4, 2e-3),
    seed=st.integers(0, 1000),
)
def test_planted_laws_come_back_within_their_errors(
    first: float, b: float, batch: float, size: float, noise: float, seed: int
) -> None:
    a = first / 1e9**b
    fit = fit_lr(sweep(a=a, b=b, batch=batch, size=size, noise=noise, seed=seed), repetitions=100)
    law = fit.general
    assert law is not None
    for found, planted in ((law.tokens, b), (law.batch, batch), (law.size, size)):
        assert found is not None
        assert found.interval is not None
        half = (found.interval[1] - found.interval[0]) / 2
        assert abs(found.value - planted) < 3 * half  # five standard errors and more
        assert half < 0.1
    assert fit.noise == pytest.approx(noise, rel=0.5)
    assert fit.verdict.batch_linear.holds is (batch == 1.0) or batch == 1.0
    assert fit.verdict.size_free.holds is (size == 0.0) or size == 0.0


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(40):
        fit = fit_lr(sweep(noise=2e-3, sizes=(6e6,), seed=seed), repetitions=100)
        assert fit.together is not None
        assert fit.together.exponent_interval is not None
        low, high = fit.together.exponent_interval
        held += low <= -0.51 <= high
    assert held >= 34


def test_a_law_of_its_own_for_every_size_is_seen() -> None:
    one, other = (
        sweep(sizes=(6e6,), noise=1e-4),
        sweep(sizes=(96e6,), b=-0.45, noise=1e-4, seed=1),
    )
    both = from_arrays(
        **{
            name: np.concatenate([getattr(one, name), getattr(other, name)])
            for name in ("N", "D", "batch_tokens", "lr", "loss")
        }
    )
    fit = fit_lr(both)
    assert fit.verdict.one_law.holds is False
    assert "the sizes disagree" in (block(fit) or " ".join(fit.cautions))
    assert fit_lr(sweep(noise=1e-3)).verdict.one_law.holds is True


def test_the_three_best_batches_of_a_budget_are_averaged() -> None:
    fit = fit_lr(sweep(batch=0.5, sizes=(6e6,)))
    betas = sorted(BETAS, key=lambda beta: abs(math.log(beta / 40)))[:3]
    for point in fit.points:
        assert sorted(point.batches) == sorted(4096 * beta for beta in betas)
        expected = np.exp(np.mean([np.log(4.6 * beta**-0.5 * point.T**-0.51) for beta in betas]))
        assert point.gamma == pytest.approx(expected, rel=1e-6)
    assert any("does not enter linearly" in caution for caution in fit.cautions)
    assert "does not enter linearly" in (block(fit) or "")


def test_repeated_runs_and_given_errors_set_the_noise() -> None:
    fit = fit_lr(sweep(noise=5e-3, seeds=3))
    assert fit.noise_source == "repeated runs"
    assert fit.noise == pytest.approx(5e-3, rel=0.15)
    given_errors = sweep()
    given_errors = replace(given_errors, loss_se=np.full(given_errors.loss.size, 2e-3))
    told = fit_lr(given_errors)
    assert told.noise_source == "loss_se"
    assert told.together is not None
    assert told.together.exponent_interval is not None
    wide = told.together.exponent_interval[1] - told.together.exponent_interval[0]
    less = fit_lr(replace(given_errors, loss_se=given_errors.loss_se / 4)).together
    assert less is not None
    assert less.exponent_interval is not None
    assert wide / (less.exponent_interval[1] - less.exponent_interval[0]) == pytest.approx(4, rel=0.15)


def test_the_error_of_a_mean_is_the_runs_own_or_the_spread_between_them() -> None:
    runs = from_arrays(N=1e6, D=1e9, batch_tokens=65536, lr=1e-3, loss=[3.0, 3.02], loss_se=[0.03, 0.04])
    cell = gather(runs)[0]
    assert cell.errors(float("nan")) == pytest.approx([0.025])
    assert cell.errors(0.1) == pytest.approx([0.1 / 2**0.5])
    assert cell.seed_squares == pytest.approx(2e-4)


def test_the_error_of_an_optimum_is_that_of_many_repetitions() -> None:
    x = np.log(2.0) * (np.arange(-2, 3) + 0.2)
    found = []
    for seed in range(400):
        noise = 1e-3 * np.random.default_rng(seed).standard_normal(5)
        runs = from_arrays(
            N=1e6, D=1e9, batch_tokens=65536, lr=1e-3 * np.exp(x), loss=3 + 0.02 * x**2 + noise
        )
        one = optimum(gather(runs)[0], 1e-3)
        if len(one.window) == 5:
            found.append((one.log_lr, one.log_lr_se))
    values, errors = np.array(found).T
    assert np.std(values) == pytest.approx(np.median(errors), rel=0.15)


@pytest.mark.parametrize(
    ("steps", "losses", "flag"),
    [
        ([1, 2], [3.1, 3.0], "few"),
        ([1, 2, 4], [3.0, 3.1, 3.2], "low"),
        ([1, 2, 4], [3.2, 3.1, 3.0], "high"),
        ([1, 2, 4, 8], [3.2, 3.1, 3.0, np.nan], "diverged"),
        ([1, 2, 4], [3.1, 3.0, 3.2], ""),
        ([1, 2, 4], [np.nan, np.nan, np.nan], "few"),
    ],
)
def test_an_optimum_that_the_grid_does_not_enclose_is_flagged(
    steps: list[float], losses: list[float], flag: str
) -> None:
    runs = from_arrays(N=1e6, D=1e9, batch_tokens=65536, lr=1e-3 * np.array(steps), loss=losses)
    assert optimum(gather(runs)[0], 1e-3).flag == flag


def test_a_flat_valley_under_loud_noise_is_flagged() -> None:
    lr, loss = 1e-3 * 2.0 ** np.arange(5), [3.001, 3.0, 2.9995, 3.0, 3.001]
    cell = gather(from_arrays(N=1e6, D=1e9, batch_tokens=65536, lr=lr, loss=loss))[0]
    assert optimum(cell, 1e-5).flag == ""
    assert optimum(cell, 0.1).flag == "flat"


def test_a_loss_that_blows_up_does_not_move_the_optimum() -> None:
    lr = 1e-3 * 2.0 ** np.arange(5)
    cell = gather(from_arrays(N=1e6, D=1e9, batch_tokens=65536, lr=lr, loss=[3.04, 3.01, 3.0, 3.01, 7.0]))[0]
    assert optimum(cell, 1e-3).lr == pytest.approx(4e-3, rel=1e-9)


def test_budgets_that_differ_by_rounding_are_one() -> None:
    assert len(set(together(np.array([1.00e9, 1.03e9, 2.0e9, 2.0e9])))) == 2
    budgets = np.array([1.0, 1.0, 1.3, 1.7])
    assert together(budgets).tolist() == budgets.tolist()


def missing(fit: LrFit) -> str:
    assert fit.schedule is None
    assert block(fit) is None
    assert to_json(fit)["schedule"] is None
    assert fit.missing
    return "; ".join(fit.missing)


def test_what_is_missing_is_said_and_no_law_sold() -> None:
    assert "needs at least 3" in missing(fit_lr(sweep(budgets=[1e9])))
    assert "needs at least 3" in missing(fit_lr(sweep(budgets=[1e9, 8e9])))
    assert "span a factor 2" in missing(fit_lr(sweep(budgets=[1e9, 1.4e9, 2e9], noise=1e-4)))
    assert "inside of the rates" in missing(
        fit_lr(sweep(rates=lambda best: best * np.array([2.0, 4.0, 8.0])))
    )
    assert "only falls" in missing(fit_lr(sweep(a=1e-6, b=0.2, noise=1e-5)))
    assert "known to ±" in missing(
        fit_lr(sweep(noise=0.02, budgets=BUDGETS[:3], sizes=(6e6,), betas=(16,), seed=4))
    )
    assert "sequences" in missing(fit_lr(sweep(betas=tuple(beta / 4096 for beta in BETAS))))  # type: ignore[arg-type]


def test_a_factor_of_4_may_be_a_little_less_in_whole_batches() -> None:
    rounded = fit_lr(sweep(budgets=[1.012e9, 2.004e9, 4.016e9], noise=1e-4))
    assert not any("span" in said for said in rounded.missing)


def test_tables_are_whole_on_80_characters() -> None:
    """Also with an interval as wide as they come: of an exponent that nothing holds."""
    fit = fit_lr(sweep(noise=0.02, budgets=BUDGETS[:3], sizes=(6e6,), betas=(16,), seed=4))
    console = Console(width=80, record=True, file=StringIO())
    console.print(optima_table(fit), laws_table(fit))
    assert "…" not in console.export_text()


def test_one_batch_and_one_size_leave_their_questions_open() -> None:
    fit = fit_lr(sweep(betas=(64,), sizes=(6e6,), noise=1e-4))
    assert fit.verdict.one_law.holds is None
    assert fit.verdict.batch_linear.holds is None
    assert fit.verdict.size_free.holds is None
    assert any("was not shown" in caution for caution in fit.cautions)


def test_batch_and_tokens_that_vary_together_cannot_be_told_apart() -> None:
    runs = sweep(sizes=(6e6,), noise=1e-4)
    tied = np.isclose(runs.batch_tokens / 65536, 2 ** np.round(np.log(runs.D / 1e9) / np.log(4)))
    fit = fit_lr(
        from_arrays(**{name: getattr(runs, name)[tied] for name in ("N", "D", "batch_tokens", "lr", "loss")})
    )
    assert fit.general is None
    assert fit.verdict.batch_linear.holds is None


def test_nothing_but_diverged_runs_is_an_answer() -> None:
    runs = sweep(sizes=(6e6,))
    broken = replace(runs, loss=np.full(runs.loss.size, np.nan))
    fit = fit_lr(broken)
    assert "inside of the rates" in missing(fit)
    assert list(words(fit))
