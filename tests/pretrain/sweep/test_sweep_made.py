"""A sweep that is really made: what is shared, what is recorded, what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from small_sweep import BATCH_TOKENS, SMALL, Sweeps, outcome

from pretrain.laws.results import read_results
from pretrain.sweep.settings import as_overrides

pytestmark = pytest.mark.timeout(300)
BUDGETS = (2560, 5120)  # 10 and 20 updates, 1 and 2 of them decay


@dataclass(frozen=True, kw_only=True)
class Made:
    """A sweep of one good setting, one that diverges and one that is refused."""

    sweeps: Sweeps
    folder: Path

    def row(self, setting: str, budget: int) -> dict[str, str]:
        return self.sweeps.rows("mixed")[f"{setting}.d{budget}"]


@pytest.fixture(scope="module")
def made(sweeps: Sweeps) -> Made:
    sweeps.write(
        "mixed",
        budgets=list(BUDGETS),
        list=[
            {"schedule.lr_max": 0.01},
            {"schedule.lr_max": 0.01, "model.logits_scaling": 1e-38},
            {"schedule.lr_max": 0.02, "data.max_epochs": {"text": 1e-6}},
        ],
    )
    return Made(sweeps=sweeps, folder=sweeps.made("mixed", "--jobs", "1"))


GOOD, DIVERGED, REFUSED = "lr_max0.01", "lr_max0.01-logits_scaling1e-38", "lr_max0.02-text1e-06"


def test_each_point_has_a_row_of_how_it_ended(made: Made) -> None:
    rows = made.sweeps.rows("mixed").values()
    assert len(rows) == 6
    status = [row["status"].partition(":")[0] for row in rows]
    assert status == ["finished"] * 2 + ["diverged"] * 2 + ["failed"] * 2
    assert [bool(row["loss"]) for row in rows] == [True] * 2 + [False] * 4


def test_a_row_says_what_the_run_says(made: Made) -> None:
    for budget in BUDGETS:
        row, run = made.row(GOOD, budget), made.sweeps.files("mixed", f"{GOOD}.d{budget}")
        score = run.summary["validation"]["text"]
        assert (float(row["loss"]), float(row["loss_se"])) == (score["loss"], score["loss_se"])
        assert 0 < score["loss_se"] < score["loss"]
        assert int(row["D"]) == run.summary["tokens"] == budget
        assert (row["batch_tokens"], row["lr"], row["seed"]) == (str(BATCH_TOKENS), "0.01", "0")
        assert int(row["N"]) == 4 * 32 * 32 + 3 * 32 * 64 + 3 * 32
    assert made.row(GOOD, 5120)["loss"] < made.row(GOOD, 2560)["loss"]


def test_what_failed_says_why(made: Made) -> None:
    assert "max_epochs" in made.row(REFUSED, 2560)["status"]
    assert "its trunk" in made.row(REFUSED, 5120)["status"]
    ended = outcome(made.folder, f"{DIVERGED}.d5120")
    assert ended["status"] == "diverged"
    assert "step 1" in ended["reason"]


def test_the_laws_read_the_results(made: Made) -> None:
    results = read_results(made.folder / "results.csv")
    assert results.D.tolist() == [2560, 5120] * 3
    assert results.failed.tolist() == [0, 0, 1, 1, 1, 1]
    assert (results.loss_se[:2] > 0).all()
    assert results.beta[0] == BATCH_TOKENS / 4096


@pytest.mark.parametrize("budget", [5120, pytest.param(2560, marks=pytest.mark.slow)])
def test_a_point_is_the_run_that_its_config_describes_made_alone(made: Made, budget: int) -> None:
    """From the start and with nothing shared: the same lines, byte for byte."""
    decay = budget // 10
    stages = [
        {"name": "trunk", "tokens": budget - decay, "mix": {"text": 1}},
        {"name": "decay", "tokens": decay, "mix": {"text": 1}},
    ]
    own = {"schedule.decay_tokens": decay, "stages": stages, "schedule.lr_max": 0.01}
    alone = made.sweeps.trial.finished(f"alone-{budget}", *as_overrides(SMALL), *as_overrides(own))
    before = [f"{GOOD}.trunk{end}" for end in (2304, 4608) if end < budget]
    parts = [made.sweeps.files("mixed", name) for name in [*before, f"{GOOD}.d{budget}"]]
    assert [line for part in parts for line in part.lines(kind="train")] == alone.lines(kind="train")
    assert alone.metrics.endswith(parts[-1].metrics)
    assert len(parts[-1].lines(kind="train")) == decay // BATCH_TOKENS


def test_again_repeats_nothing(made: Made) -> None:
    before = {path: path.stat().st_mtime_ns for path in (made.folder / "runs").rglob("*") if path.is_file()}
    rows = (made.folder / "results.csv").read_bytes()
    made.sweeps.made("mixed", "--jobs", "1")
    after = {path: path.stat().st_mtime_ns for path in (made.folder / "runs").rglob("*") if path.is_file()}
    assert after == before
    assert (made.folder / "results.csv").read_bytes() == rows


def test_nothing_is_kept_that_nobody_goes_on_from(made: Made) -> None:
    kept = [path.parents[1].name for path in (made.folder / "runs").glob("*/checkpoints/step_*")]
    assert kept == [f"{GOOD}.trunk4608"]


def test_another_base_is_refused(made: Made) -> None:
    started = made.sweeps.start("mixed", "model.hidden_size=64")
    ended = started.wait()
    assert ended.code == 2
    assert "model.hidden_size = 32, which is 64 now" in ended.output
