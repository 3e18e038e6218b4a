"""The comparison of learning rates across widths: trials, the file of results, the grid and the fit."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks.lr_transfer.__main__ import main  # noqa: E402
from benchmarks.lr_transfer.fit import best, fit_slope, student_quantile  # noqa: E402
from benchmarks.lr_transfer.grid import Curve, Width, curves, missing  # noqa: E402
from benchmarks.lr_transfer.report import write_report  # noqa: E402
from benchmarks.lr_transfer.results import append, outcomes  # noqa: E402
from benchmarks.lr_transfer.summary import panels  # noqa: E402
from benchmarks.lr_transfer.train import Outcome, initial_model, train  # noqa: E402
from benchmarks.lr_transfer.trial import Recipe, Trial  # noqa: E402

VOCABULARY, LENGTH = 64, 16
RECIPE = Recipe(
    data="text",
    vocab_size=VOCABULARY,
    sequence_length=LENGTH,
    layers=1,
    head_dim=8,
    sequences=2,
    updates=3,
    warmup_updates=1,
    base_width=16,
    init_std=0.1,
    standard_init_std=0.02,
    validation_sequences=4,
)
TRIAL = Trial(recipe=RECIPE, architecture="dense", parametrisation="mup", width=16, log2_lr=-6, seed=0)
SLOPES = {"mup": 0.1, "standard": -0.75}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Rows in which every token but the first is the one before it plus one: quickly learned."""
    first = np.random.default_rng(0).integers(VOCABULARY, size=(40, 1))
    rows = ((first + np.arange(LENGTH + 1)) % VOCABULARY).astype(np.uint16)
    file = tmp_path / "text.npz"
    np.savez(file, train=rows[:32], validation=rows[32:], vocab_size=np.int64(VOCABULARY))
    return file


def planted(trial: Trial) -> Outcome:
    """A parabola in log2 of the rate; its lowest point moves with the width by the planted slope."""
    lowest = -6.3 + SLOPES[trial.parametrisation] * math.log2(trial.width / 64)
    return Outcome(first_loss=4.1, loss=2.0 + 0.05 * (trial.log2_lr - lowest) ** 2, seconds=1.0, device="cpu")


def planted_curves() -> list[Curve]:
    return curves(RECIPE, [Width(width=width, points=3, seeds=2) for width in (64, 128, 256)])


def planted_outcomes() -> dict[str, Outcome]:
    """Every trial that the grid asks for, until it asks for no more."""
    every, known = planted_curves(), dict[str, Outcome]()
    while todo := missing(every, known):
        known |= {trial.key: planted(trial) for trial in todo}
    return known


@pytest.mark.parametrize("architecture", ["dense", "moe"])
def test_a_trial_learns(text: Path, architecture: str) -> None:
    """Over 60 updates the loss falls far; the same trial again gives the same number."""
    longer = replace(RECIPE, updates=60, warmup_updates=5)
    trial = replace(TRIAL, recipe=longer, architecture=architecture, log2_lr=-5)
    outcome = train(trial, text, "cpu")
    assert outcome.loss is not None
    assert outcome.loss < 0.6 * outcome.first_loss
    assert not outcome.diverged
    assert train(trial, text, "cpu").loss == outcome.loss
    assert train(replace(trial, seed=1), text, "cpu").loss != outcome.loss


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ["dense", "moe"])
def test_a_device_learns_the_same(text: Path, architecture: str) -> None:
    trial = replace(TRIAL, architecture=architecture, recipe=replace(RECIPE, updates=20))
    on_cpu, on_gpu = train(trial, text, "cpu"), train(trial, text, "cuda")
    assert on_gpu.first_loss == pytest.approx(on_cpu.first_loss, rel=1e-5)
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-3)


def test_divergence_is_recorded(text: Path, tmp_path: Path) -> None:
    outcome = train(replace(TRIAL, recipe=replace(RECIPE, updates=20), log2_lr=40), text, "cpu")
    assert outcome.diverged
    append(tmp_path / "results", TRIAL, outcome)
    assert outcomes(tmp_path / "results")[TRIAL.key].diverged


def test_the_parametrisations_differ_as_they_should() -> None:
    """µP: a hidden matrix of four times the width has half the std; standard: the same."""
    for parametrisation, ratio in (("mup", 0.5), ("standard", 1.0)):
        narrow, wide = (
            initial_model(replace(TRIAL, parametrisation=parametrisation, width=width), "cpu")
            .layers[0]
            .mixer.qkv.weight.detach()
            .std()
            for width in (64, 256)
        )
        assert float(wide / narrow) == pytest.approx(ratio, rel=0.03)


def test_a_torn_line_is_made_again_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "results"
    outcome = planted(TRIAL)
    append(file, TRIAL, outcome)
    other = replace(TRIAL, seed=1)
    append(file, other, outcome)
    file.write_bytes(file.read_bytes()[:-20])
    assert outcomes(file) == {TRIAL.key: outcome}
    append(file, other, outcome)
    assert outcomes(file) == {TRIAL.key: outcome, other.key: outcome}


def test_every_setting_is_in_the_key() -> None:
    changes = {"architecture": "moe", "parametrisation": "standard", "width": 32, "log2_lr": -7, "seed": 1}
    trials = [TRIAL, *(replace(TRIAL, **{name: value}) for name, value in changes.items())]
    for name, value in vars(RECIPE).items():
        other = f"{value}x" if isinstance(value, str) else value * 2
        trials.append(replace(TRIAL, recipe=replace(RECIPE, **{name: other})))
    assert len({trial.key for trial in trials}) == len(trials)


def test_the_grid_goes_outward_until_the_lowest_point_is_inside() -> None:
    known = planted_outcomes()
    for curve in planted_curves():
        rates = sorted(trial.log2_lr for trial in curve.made(known).values())
        losses = [known[curve.trial(log2_lr).key].loss for log2_lr in rates]
        assert rates == list(range(rates[0], rates[-1] + 1))
        assert 0 < losses.index(min(losses)) < len(losses) - 1
    assert len(known) < 6 * len(planted_curves())


def test_a_grid_whose_losses_fall_for_ever_ends() -> None:
    curve = planted_curves()[0]
    known: dict[str, Outcome] = {}
    while todo := curve.missing(known):
        known |= {
            trial.key: Outcome(first_loss=9.0, loss=1 - trial.log2_lr / 99, seconds=1.0, device="cpu")
            for trial in todo
        }
    assert best({trial.log2_lr: known[trial.key].loss or 0.0 for trial in curve.made(known).values()}) is None


def test_the_fit_finds_planted_optima_and_slopes() -> None:
    for panel in panels(planted_curves(), planted_outcomes()):
        planted_slope = SLOPES[panel.parametrisation]
        for width in (64, 128, 256):
            for found in panel.bests(width):
                assert found.log2_lr == pytest.approx(-6.3 + planted_slope * math.log2(width / 64))
                assert found.loss == pytest.approx(2.0)
        assert panel.slope is not None
        assert panel.slope.slope == pytest.approx(planted_slope)
        assert panel.slope.half_width == pytest.approx(0, abs=1e-6)


def test_the_interval_is_students() -> None:
    """Three points whose middle one is off by 0.3: the textbook's standard error, one degree of freedom."""
    found = fit_slope([2, 4, 8], [0.0, 0.3, 0.0])
    assert found is not None
    assert found.slope == pytest.approx(0, abs=1e-12)
    error = math.sqrt((2 * 0.1**2 + 0.2**2) / 1 / 2)
    assert found.half_width == pytest.approx(12.706 * error, rel=0.02)
    assert student_quantile(10) == pytest.approx(2.228, rel=0.005)
    assert fit_slope([2, 4], [1.0, 2.0]).half_width is None  # type: ignore[union-attr]
    assert fit_slope([2, 2], [1.0, 2.0]) is None


def test_a_curve_lowest_at_an_end_has_no_best() -> None:
    assert best({-5: 1.0, -4: 2.0, -3: 3.0}) is None
    assert best({}) is None
    assert best({-6: 3.0, -5: 2.0, -4: 2.0, -3: 4.0}) is not None


def test_report(tmp_path: Path) -> None:
    """The page states the planted slopes; the picture is a small PNG."""
    known, results = planted_outcomes(), tmp_path / "results"
    for curve in planted_curves():
        for key, trial in curve.made(known).items():
            append(results, trial, known[key])
    write_report(tmp_path / "docs", results, "the command")
    text = (tmp_path / "docs" / "lr_transfer.md").read_text()
    assert "| dense, µP | +0.10 ± 0.00 | within ±0.15 |" in text
    assert "| MoE, standard | -0.75 ± 0.00 | at most -0.5 |" in text
    assert "the command" in text
    png = (tmp_path / "docs" / "lr_transfer.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) < 200_000


@pytest.mark.dist
def test_the_command_trains_what_is_missing_and_no_more(text: Path, tmp_path: Path) -> None:
    """Four curves of three updates a trial; out of time it makes none, the second time round as well."""
    results = tmp_path / "results.jsonl"
    small = "--widths 16 --points 3 --seeds 1 --layers 1 --head-dim 8 --updates 3 --warmup-updates 1 --jobs 1"
    words = ["--data", str(text), "--results", str(results), *small.split(), "--max-seconds"]
    assert main([*words, "0"]) == 1
    assert not results.exists()
    assert main([*words, "1000"]) == 0
    made = results.read_text()
    assert len(made.splitlines()) == len(outcomes(results)) >= 4 * 3
    assert main([*words, "1000"]) == 0
    assert results.read_text() == made
