"""Critical batches: the published curves, closed forms, and tables that cannot answer."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.laws.batch_report import report
from pretrain.laws.batch_view import to_json, words
from pretrain.laws.branching import critical_branch, saving, smooth, updates, warm_up
from pretrain.laws.critical_batch import fit_steps, growth
from pretrain.laws.noise_scale import noise_scale, signal_and_noise
from pretrain.laws.table import read

DATA = Path(__file__).parent / "data" / "critical_batch_size"


def published() -> dict[str, dict[str, float]]:
    with (DATA / "published_fit.csv").open() as file:
        return {row["model_M"]: {k: float(v) for k, v in row.items()} for row in csv.DictReader(file)}


@pytest.mark.parametrize("model", ["85", "151", "302"])
def test_the_published_curves_of_steps_to_a_target(model: str) -> None:
    table = read(DATA / "steps_to_target.csv")
    rows = np.array([name == model for name in table.texts("model_M")])
    batches, steps = table.positive("batch_sequences")[rows], table.positive("steps")[rows]
    fit = fit_steps(batches, steps, base_batch=256)
    printed = published()[model]
    assert fit.a == pytest.approx(printed["a"], rel=1e-5)
    assert fit.b == pytest.approx(printed["b"], rel=1e-5)
    assert fit.overhead == pytest.approx(printed["cbs_sequences"], abs=0.005)
    assert fit.half_efficiency == pytest.approx(printed["b"] / printed["a"], rel=1e-4)


def test_the_same_from_the_file_in_tokens() -> None:
    found = report(read(DATA / "steps_to_target.csv"), sequence=512, base_batch=256 * 512)
    sequences = [result["overhead"] / 512 for result in found.results]
    assert sequences == pytest.approx([745.32, 955.16, 1393.73], abs=0.005)
    assert found.growth is not None
    assert (found.growth_of, found.growth.points) == ("N", 3)
    assert to_json(found, None, {})["measured"]["results"][0]["of"]["model_M"] == "85"
    assert len(list(words(found, 3.0, {"kaplan": 1e6}))) == 7


@given(a=st.floats(100, 1e5), critical=st.floats(150, 3000), share=st.floats(0.05, 1))
def test_a_planted_curve_and_what_overhead_means(a: float, critical: float, share: float) -> None:
    batches = 2.0 ** np.arange(6, 13)
    b = a * critical
    fit = fit_steps(batches, a + b / batches, share=share)
    assert (fit.a, fit.b) == (pytest.approx(a, rel=1e-4), pytest.approx(b, rel=1e-4))
    assert fit.half_efficiency is not None
    assert fit.overhead is not None
    linear = (a + b / 64) * 64 / fit.overhead  # steps there if they went on falling in proportion
    assert a + b / fit.overhead == pytest.approx((1 + share) * linear, rel=1e-3)


def test_a_curve_without_one_of_its_limbs_has_no_critical_batch() -> None:
    batches = 2.0 ** np.arange(6, 11)
    for b, told in ((1e9, "still fall"), (1.0, "no longer fall")):
        fit = fit_steps(batches, 1000 + b / batches)
        assert fit.half_efficiency is fit.overhead is None
        assert told in fit.missing[0]
    with pytest.raises(UserError, match="1 batch size"):
        fit_steps([64, 64, 64, 64], [10, 11, 12, 10])


def test_growth_is_a_power_law() -> None:
    x = np.array([1e9, 2e9, 8e9, 4e10])
    grown = growth(x, 3.5 * x**0.47)
    assert (grown.coefficient, grown.exponent) == (pytest.approx(3.5), pytest.approx(0.47))
    assert growth(x[:2], x[:2]).interval is None
    with pytest.raises(UserError, match="two different places"):
        growth([1e9, 1e9], [1, 2])


def test_noise_scale_from_two_norms() -> None:
    found = noise_scale(64, 1024, 68, 8)
    assert (found.signal, found.noise, found.batch) == pytest.approx((4, 4096, 1024))
    assert noise_scale(64, 1024, 64, 3).batch is None  # noise alone: |G|^2 comes out negative
    with pytest.raises(UserError, match="smaller"):
        noise_scale(64, 64, 1, 1)


def test_noise_scale_of_gradients_whose_noise_is_known() -> None:
    generator = np.random.default_rng(0)
    direction = np.full(50, 0.1)  # |G|^2 = 0.5
    norms = [
        [np.sum((direction + generator.standard_normal(50) / np.sqrt(batch)) ** 2) for _ in range(4000)]
        for batch in (8, 64)
    ]
    found = noise_scale(8, 64, *norms)
    assert found.signal == pytest.approx(0.5, rel=0.1)
    assert found.noise == pytest.approx(50, rel=0.05)
    signal, noise = signal_and_noise(8, 64, *norms)
    assert found.batch == pytest.approx(noise.mean() / signal.mean())


@pytest.mark.parametrize(
    ("losses", "batch", "at_least", "at_most"),
    [
        ([3.0, 3.005, 3.009, 3.05], 4, False, False),
        ([3.0, 3.0, 3.0, 3.0], 8, True, False),
        ([3.0, 3.02, 3.0, 3.0], 1, False, True),  # the first that fails ends it
        ([3.0, 2.98, 2.995, 3.0], 2, False, False),  # against the best of the smaller ones
        ([3.0, 3.0, float("nan"), 3.0], 2, False, False),
        ([3.0, 3.009, 3.018, 3.027], 2, False, False),  # small losses add up
    ],
)
def test_the_largest_batch_that_loses_nothing(
    losses: list[float], batch: float, at_least: bool, at_most: bool
) -> None:
    found = critical_branch([1, 2, 4, 8], losses)
    assert (found.batch, found.at_least, found.at_most) == (batch, at_least, at_most)
    shuffled = critical_branch([8, 2, 1, 4], [losses[i] for i in (3, 1, 0, 2)])
    assert shuffled == found


def test_smoothing_keeps_a_constant_and_halves_a_jump() -> None:
    assert smooth([3.0, 3.0, 3.0]).tolist() == [3, 3, 3]
    assert smooth([3.0, 4.0, 4.0]).tolist() == [3, 3.5, 3.75]


def test_the_warm_up_of_olmo_1b() -> None:
    unit = 4096
    phases = warm_up([0, 168e9, 503e9], [1024 * unit, 2048 * unit, 4096 * unit], 1024 * unit, 658e9)
    assert [phase.batch / unit for phase in phases] == [1024, 2048, 4096]
    assert [phase.lr_factor for phase in phases] == pytest.approx([1, 2**0.5, 2])
    assert saving(phases, 1024 * unit) == pytest.approx(0.431, abs=5e-4)
    fixed = warm_up([0], [4096 * unit], 4096 * unit, 658e9)
    assert saving(fixed, 1024 * unit) == pytest.approx(0.75, abs=1e-12)
    assert updates(fixed) == pytest.approx(658e9 / 4096 / unit)


def test_a_batch_may_double_twice_at_once() -> None:
    phases = warm_up([10.0], [4.0], 1.0, 20.0)
    assert [(phase.start_tokens, phase.end_tokens, phase.batch) for phase in phases] == [
        (0, 10, 1),
        (10, 20, 4),
    ]


def test_branches_from_a_file_with_steps(tmp_path: Path) -> None:
    rows = ["tokens,batch_tokens,step,loss"]
    for tokens, limit in ((1e9, 8192), (4e9, 32768)):
        for batch in (8192, 16384, 32768, 65536):
            final = 3.0 if batch <= limit else 3.1
            rows += [f"{tokens},{batch},{step},{final + 0.0 * step}" for step in (2, 1, 3)]
    (tmp_path / "my_branches.csv").write_text("\n".join(rows) + "\n")
    found = report(read(tmp_path / "my_branches.csv"), start_batch=8192, end_tokens=8e9)
    assert [result["batch"] for result in found.results] == [8192, 32768]
    assert "fewer than at batch 8192" in found.warm_up[-1]
    assert any("may be smaller" in note for note in found.notes)


def test_growth_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "growth.csv").write_text("tokens,critical_batch_tokens\n1e9,1e5\n4e9,2e5\n1.6e10,4e5\n")
    found = report(read(tmp_path / "growth.csv"))
    assert found.growth is not None
    assert found.growth.exponent == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model_M,batch_sequences,steps\n85,64,10\n", "--sequence-length"),
        ("batch_tokens,steps\n64,10\n128,6\n", "no group has the 4 batches"),
        ("batch_tokens,accuracy\n64,10\n", "wanted are"),
        ("batch_tokens,loss\n64,3\n", "where the branches leave the trunk"),
        ("tokens,batch_tokens,loss\n1e9,64,3\n", "two different batches"),
        ("tokens,batch_tokens,loss\n1e9,64,nan\n1e9,128,3\n", "no loss to compare with"),
    ],
)
def test_a_table_that_cannot_answer_is_told_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        report(read(tmp_path / "my.csv"))
