"""What lies beyond the grid is asked for where the best is at its edge, and follows from results alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from pretrain.sweep.extend import cells, extended
from pretrain.sweep.load import load_sweep
from pretrain.sweep.options import Extension
from pretrain.sweep.outcome import Outcome, Outcomes
from pretrain.sweep.plan import Plan
from pretrain.sweep.settings import Setting

KEY, BUDGET = "schedule.lr_max", 1000
RATES = (0.001, 0.002, 0.004)


def asked(losses: dict[float, float | None], rounds: int = 3) -> list[float]:
    """The rates that are wanted beyond `RATES`, their losses and those of others being known."""
    settings = {rate: Setting(values={KEY: rate}) for rate in (*RATES, *losses)}
    known = {(settings[rate].label, BUDGET): loss for rate, loss in losses.items()}
    first = cells([settings[rate] for rate in RATES], [BUDGET], KEY)
    found = extended(first, known, Extension(key=KEY, rounds=rounds))
    return [setting.values[KEY] for setting, _ in found]


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ((3.0, 2.0, 2.5), []),
        ((3.0, 2.0, 1.9), [0.008]),
        ((1.0, 2.0, 3.0), [0.0005]),
        ((math.inf, math.inf, math.inf), [0.0005]),
        ((2.0, math.inf, math.inf), [0.0005]),
        ((None, 2.0, 2.5), []),
        ((None, None, None), []),
    ],
)
def test_one_step_beyond_the_edge_where_the_best_is(losses, wanted) -> None:
    assert asked(dict(zip(RATES, losses, strict=True))) == wanted


def test_nothing_is_asked_for_before_all_of_a_cell_has_ended() -> None:
    assert asked({0.001: 3.0, 0.004: 1.0}) == []


def test_it_ends_after_as_many_rounds_as_were_allowed() -> None:
    falling = {0.001 * 2**k: 3.0 - 0.1 * k for k in range(9)}
    assert asked(falling) == [0.008, 0.016, 0.032]
    assert asked(falling, rounds=1) == [0.008]


def test_a_plan_grows_by_what_its_results_call_for(tmp_path: Path) -> None:
    """The trunk of the new rate reaches to the budget that asked; a second look adds nothing."""
    path = tmp_path / "my.yaml"
    keys = {"name": "my", "base": "tiny_dense", "root": str(tmp_path), "budgets": ["1M", "2M"], "extend": KEY}
    path.write_text(yaml.safe_dump({**keys, "grid": {KEY: list(RATES), "batch.sequences": [8, 16]}}))
    plan, outcomes = Plan(load_sweep(str(path))), Outcomes(tmp_path)
    assert plan.num_units == 2
    for run in plan.points():
        rate, batch = run.setting.values[KEY], run.setting.values["batch.sequences"]
        at_edge = batch == 16 and run.budget == 1_000_000
        loss = abs(math.log(rate / (0.004 if at_edge else 0.002))) + 1
        outcomes.put(run.name, Outcome(status="finished", losses={"text": loss}))
    before = set(plan.runs)
    assert plan.grow(outcomes)
    new = [plan.runs[name] for name in plan.runs.keys() - before]
    assert {(run.setting.values[KEY], run.setting.values["batch.sequences"]) for run in new} == {(0.008, 16)}
    assert [run.budget for run in new if run.budget] == [1_000_000]
    assert not plan.grow(outcomes)
