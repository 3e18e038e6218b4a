"""L(N, D) and isoFLOP optima: planted laws, published points, and runs that do not suffice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.laws.isoflop import fit_isoflop, left_out
from pretrain.laws.scale import fit_scale
from pretrain.laws.scale_report import isoflop_groups, scale_groups, to_json, words
from pretrain.laws.table import read

DATA = Path(__file__).parent / "data"
LADDER = DATA / "OLMo_ladder" / "ladder_final.csv"
ISOFLOP = DATA / "resolving_scaling_law_discrepancies" / "isoflop_tuned.csv"
N, D = (grid.ravel() for grid in np.meshgrid([1e8, 3e8, 1e9, 4e9], [2e9, 1e10, 5e10, 2e11]))


def law(
    E: float = 1.8, A: float = 480.0, B: float = 2100.0, alpha: float = 0.35, beta: float = 0.37
) -> np.ndarray:
    return E + A / N**alpha + B / D**beta


@settings(max_examples=8)
@given(
    E=st.floats(1.2, 2.2), first=st.floats(0.2, 1.0), second=st.floats(0.2, 1.0),
    alpha=st.floats(0.25, 0.5), beta=st.floats(0.25, 0.5),
)  # fmt: skip
def test_a_planted_law_comes_back(E: float, first: float, second: float, alpha: float, beta: float) -> None:
    found = fit_scale(N, D, law(E, first * 1e8**alpha, second * 2e9**beta, alpha, beta), refits=0)
    assert (found.E, found.alpha, found.beta) == pytest.approx((E, alpha, beta), abs=5e-3)
    assert found.error < 1e-5


def test_one_bad_run_does_not_move_it() -> None:
    losses = law()
    losses[5] += 1.0
    found = fit_scale(N, D, losses, refits=0)
    assert (found.E, found.alpha, found.beta) == pytest.approx((1.8, 0.35, 0.37), abs=0.01)


def test_what_the_law_says_of_compute() -> None:
    found = fit_scale(N, D, law(), refits=0)
    assert found.size_exponent == pytest.approx(0.37 / 0.72, abs=1e-3)
    size, tokens = found.optimal(1e21)
    assert 6 * size * tokens == pytest.approx(1e21)
    best = found.loss(size, tokens)
    for factor in (0.9, 1.1):
        assert found.loss(size * factor, tokens / factor) > best


def test_the_ladder_of_olmo() -> None:
    """Recomputed elsewhere from the same 16 runs: E 1.042, alpha 0.112, beta 0.158."""
    table = read(LADDER)
    chosen = np.array(["0.5xC" not in run and "rerun" not in run for run in table.texts("run")])
    assert chosen.sum() == 16
    found = fit_scale(
        table.positive("N")[chosen],
        table.positive("tokens")[chosen],
        table.reals("c4_ce")[chosen],
        refits=0,
    )
    assert (found.alpha, found.beta) == pytest.approx((0.112, 0.158), abs=5e-4)
    assert float(found.E) == pytest.approx(1.042, abs=0.003)


def test_a_ladder_without_its_largest_models_predicts_them() -> None:
    table = read(LADDER)
    sizes, tokens, losses = table.positive("N"), table.positive("tokens"), table.reals("c4_ce")
    small = sizes < 1e9
    found = fit_scale(sizes[small], tokens[small], losses[small], refits=0)
    assert np.abs(found.loss(sizes[~small], tokens[~small]) / losses[~small] - 1).max() < 0.02


@pytest.mark.slow
def test_intervals_hold_a_planted_law_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(12):
        noise = 2e-3 * np.random.default_rng(seed).standard_normal(N.size)
        low, high = fit_scale(N, D, law() * np.exp(noise), refits=60).intervals()["alpha"] or (1, 0)
        held += low < 0.35 < high
    assert held >= 10


def test_an_exponent_that_runs_do_not_fix_is_a_caution() -> None:
    noise = 0.03 * np.random.default_rng(0).standard_normal(N.size)
    found = fit_scale(N, D, law() * np.exp(noise), refits=30)
    assert any("alpha is known" in caution for caution in found.cautions())
    assert not fit_scale(N, D, law(), refits=30).cautions()


def test_a_band_is_wider_far_from_the_runs() -> None:
    noise = 2e-3 * np.random.default_rng(0).standard_normal(N.size)
    found = fit_scale(N, D, law() * np.exp(noise), refits=30)
    near, far = found.band(1e9, 1e10), found.band(1e11, 1e13)
    assert near is not None
    assert far is not None
    assert near[0] < found.loss(1e9, 1e10) < near[1]
    assert far[1] - far[0] > 2 * (near[1] - near[0])


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (slice(0, 5), "5 runs with a loss"),
        (N == 1e9, "4 runs"),
        (D < 2e10, "D has 2 value"),
        (N < 5e8, "N has 2 value"),
    ],
)
def test_runs_that_do_not_suffice_are_told_what_is_missing(chosen: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        fit_scale(N[chosen], D[chosen], law()[chosen], refits=0)  # type: ignore[index]


def test_diverged_runs_are_left_out() -> None:
    losses = law()
    losses[[0, 7]] = np.nan
    found = fit_scale(N, D, losses, refits=0)
    assert found.runs == 14
    assert found.alpha == pytest.approx(0.35, abs=5e-3)


@pytest.mark.parametrize(("dataset", "published"), [("rw", 0.49702880), ("owt2", 0.51840581)])
def test_the_published_isoflop_exponents(dataset: str, published: float) -> None:
    found = {one.group: one.law for one in isoflop_groups(read(ISOFLOP), ["dataset"], "loss", "akima")}
    law = found[dataset]
    assert law is not None
    assert law.size_exponent == pytest.approx(published, abs=1e-3)
    assert law.size_exponent + law.tokens_exponent == pytest.approx(1, abs=1e-3)  # type: ignore[union-attr]


@pytest.mark.parametrize(("dataset", "recomputed"), [("rw", 0.501), ("owt2", 0.508)])
def test_a_parabola_instead(dataset: str, recomputed: float) -> None:
    found = {one.group: one.law for one in isoflop_groups(read(ISOFLOP), ["dataset"], "loss", "parabola")}
    assert found[dataset].size_exponent == pytest.approx(recomputed, abs=1e-3)  # type: ignore[union-attr]


def planted_isoflop(exponent: float, shift: float = 1.0) -> tuple[np.ndarray, ...]:
    rows = []
    for C in 1e17 * 4.0 ** np.arange(4):
        best = 0.1 * C**exponent
        for size in best * shift * 2.0 ** np.arange(-3, 4):
            rows.append((C, size, C / 6 / size, 3 * np.exp(0.02 * np.log(size / best) ** 2)))
    return tuple(np.array(rows).T)


@pytest.mark.parametrize("method", ["akima", "parabola"])
def test_a_planted_isoflop_exponent(method: str) -> None:
    found = fit_isoflop(*planted_isoflop(0.53, 1.2), method=method)  # type: ignore[arg-type]
    assert found.size_exponent == pytest.approx(0.53, abs=1e-3)
    assert found.size_coefficient == pytest.approx(0.1, rel=0.02)
    assert found.tokens_exponent == pytest.approx(0.47, abs=1e-3)


def test_a_best_size_at_the_edge_is_no_minimum() -> None:
    found = fit_isoflop(*planted_isoflop(0.53, 1000.0))
    assert found.size_exponent is None
    assert "0 of 4 budgets" in found.missing[0]
    assert all("the smallest tried" in sentence for sentence in left_out(found))
    assert len(list(left_out(found))) == 4


def test_every_group_has_its_law_or_its_reason(tmp_path: Path) -> None:
    rows = ["text,params,tokens,loss"]
    rows += [f"good,{n},{d},{loss}" for n, d, loss in zip(N, D, law(), strict=True)]
    rows += ["few,1e8,2e9,3.0"]
    (tmp_path / "runs.csv").write_text("\n".join(rows) + "\n")
    found = scale_groups(read(tmp_path / "runs.csv"), ["text"], "loss", 0)
    told = to_json(found, [(7e9, 2e12)])
    assert told[0]["predicted"][0]["loss"] == pytest.approx(
        1.8 + 480 / 7e9**0.35 + 2100 / 2e12**0.37, rel=2e-3
    )
    assert "1 runs with a loss" in told[1]["missing"][0]
    assert any("no law" in line for line in words(found, []))
    assert told[0]["cautions"] == []
    with pytest.raises(UserError, match="Did you mean 'text'"):
        scale_groups(read(tmp_path / "runs.csv"), ["texts"], "loss", 0)
    with pytest.raises(UserError, match="--loss-column"):
        scale_groups(read(tmp_path / "runs.csv"), [], "ce", 0)
