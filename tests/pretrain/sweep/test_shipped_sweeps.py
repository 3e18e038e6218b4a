"""Every shipped sweep: what it is by hand arithmetic, and that each of its keys says its meaning."""

from __future__ import annotations

from functools import cache

import pytest
import yaml

from pretrain.config.load import load
from pretrain.sweep.cost import cost
from pretrain.sweep.load import find_sweep, load_sweep, names
from pretrain.sweep.options import SweepOptions
from pretrain.sweep.plan import Plan

B, M = 10**9, 10**6
CORE_TOKENS_PER_SECOND = 8000  # of the tiny models, on one of two busy cores of this kind
COUNTS = {  # settings, budgets
    "paper_wsd": (3 * 6 * 8, 8),
    "paper_power": (5 * 3 * 11, 7),
    "tiny_wsd": (3 * 6, 5),
    "tiny_power": (3 * 3 * 5, 4),
    "versus": (4 * 3 * 3, 1),
}


@cache
def plan(name: str) -> Plan:
    return Plan(load_sweep(name))


def test_all_are_there() -> None:
    assert set(names()) == COUNTS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_its_counts(name: str) -> None:
    settings, budgets = COUNTS[name]
    found = cost(plan(name))
    assert (found["name"], found["settings"], found["points"]) == (name, settings, settings * budgets)
    cosine = 9 if name == "versus" else 0  # of which each is one whole run
    assert found["runs"] == 2 * settings * budgets - cosine


def test_the_papers_384_runs_of_a_size_are_48_trunks() -> None:
    for width, parameters in ((128, 6_037_632), (256, 24_133_888), (512, 96_502_272)):
        runs = [
            run for run in plan("paper_wsd").runs.values() if run.setting.values["model.hidden_size"] == width
        ]
        assert sum(run.budget is not None for run in runs) == 384
        assert len([run for run in runs if run.parent is None]) == 48
        assert {run.parameters for run in runs} == {parameters}
        assert {run.batch_tokens for run in runs} == {4096 * 2**k for k in range(4, 10)}
        assert {run.lr for run in runs} == {2e-4 * 2**k for k in range(8)}


def test_tokens_of_the_papers_trunks() -> None:
    """0.9 of 256B for the trunk, and a tenth of each budget for its branches."""
    found, trunk = cost(plan("paper_wsd")), 0.9 * 256 * B + 0.1 * sum(2**k for k in range(1, 9)) * B
    assert found["tokens"] == pytest.approx(144 * trunk, rel=2e-4)
    assert found["tokens_without_sharing"] == pytest.approx(144 * 510 * B, rel=2e-4)


def test_the_models_are_those_of_the_papers_tables() -> None:
    planner = plan("paper_wsd").planner
    for setting in plan("paper_wsd").settings[::48]:
        config = planner.config(setting)
        assert (config.mup.init_std, config.model.embedding_multiplier, config.model.residual_multiplier) == (
            0.02,
            1,
            1,
        )
        assert config.model.num_key_value_heads in (None, config.model.num_attention_heads)
        assert config.model.hidden_size == 64 * config.model.num_attention_heads
        assert (config.schedule.name, config.schedule.warmup_tokens) == ("wsd", B)
    config = plan("paper_power").planner.config(plan("paper_power").settings[0])
    assert config.model == load("proxy_36m").model
    assert (config.mup.init_std, config.schedule.lr_max, config.schedule.warmup_tokens) == (0.1, 0.02, B)


@pytest.mark.parametrize("name", ["tiny_wsd", "tiny_power", "versus"])
def test_the_small_ones_take_two_cores_less_than_two_hours(name: str) -> None:
    runs = plan(name).runs.values()
    assert sum(run.own_tokens for run in runs) / (2 * CORE_TOKENS_PER_SECOND) < 2 * 3600
    config = plan(name).planner.config(plan(name).settings[0])
    assert {run.parameters for run in runs} == {4 * (4 * 96**2 + 3 * 96 * 256) + 9 * 96}
    assert config.model.num_hidden_layers == 4
    assert 443_232 + 96 * config.data.tokenizer.vocab_size < M


def test_versus_gives_every_schedule_the_same() -> None:
    tried: dict[tuple, list] = {}
    for setting in plan("versus").settings:
        schedule = setting.values["schedule"]
        tried.setdefault((schedule["name"], schedule.get("exponent")), []).append(setting.values["run.seed"])
    assert len(tried) == 4
    assert all(sorted(seeds) == [0, 0, 0, 1, 1, 1, 2, 2, 2] for seeds in tried.values())


def test_versus_tries_the_constants_where_they_agree() -> None:
    rates = [4.0 * (2 * M) ** -0.51, 0.254 * (2 * M) ** -0.32]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


@pytest.mark.parametrize("name", COUNTS)
def test_every_key_of_a_sweep_stands_under_its_meaning(name: str) -> None:
    lines = find_sweep(name).read_text(encoding="utf-8").split("\n")
    keys = yaml.safe_load("\n".join(lines))
    for key in keys:
        line = next(number for number, text in enumerate(lines) if text.startswith(f"{key}:"))
        above = []
        while lines[line - 1].startswith("#"):
            line -= 1
            above.insert(0, lines[line].lstrip("# "))
        description = SweepOptions.model_fields[key].description
        assert description, key
        assert description in " ".join(above), (name, key)


@pytest.mark.parametrize("name", COUNTS)
def test_parts_hold_every_run_once_and_whole_families(name: str) -> None:
    for parts in (1, 3, 7):
        seen: dict[str, int] = {}
        for part in range(1, parts + 1):
            made = plan(name)
            made.part = (part, parts)
            own = made.own()
            assert all(run.parent is None or run.parent in own for run in own.values())
            for run in own:
                assert run not in seen
                seen[run] = part
        assert seen.keys() == plan(name).runs.keys()
        sizes = [list(seen.values()).count(part) for part in range(1, parts + 1)]
        assert max(sizes) - min(sizes) <= 2 * COUNTS[name][1]
    plan(name).part = (1, 1)
