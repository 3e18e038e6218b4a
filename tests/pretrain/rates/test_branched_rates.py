"""A run that branches is shown from its checkpoint on, and other schedules branch there with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretrain.checkpoint.format import STATE_FILE
from pretrain.config.derive import derive
from pretrain.config.load import load
from pretrain.config.past import as_json
from pretrain.rates.rates import Rates, rates_of
from pretrain.rates.samples import places

DOUBLING = "batch.schedule={name: doubling, at_tokens: [100K, 600K]}"
TRUNK = ("stages=[{name: stable, tokens: 900K, mix: {python: 1}}]", "schedule.decay_tokens=0", DOUBLING)
STAGE = "stages=[{name: decay, tokens: 600K, mix: {python: 1}}]"


@pytest.fixture(autouse=True)
def beside_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the same name, as `make pretrain` leaves one here, would be gone on with."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def branched(tmp_path: Path) -> Rates:
    """A decay behind 60 updates of a trunk, of whose checkpoint only the JSON is there."""
    trunk = load("tiny_moe", TRUNK)
    here = derive(trunk).until(60).here
    position = {"step": here.step, "tokens": here.tokens, "sequence": here.sequence, "expert_counts": None}
    state = {
        "format": 1,
        "position": position,
        "config": trunk.model_dump(mode="json"),
        "past": as_json(derive(trunk).past),
        "files": {"exp_avg_sq-00000.safetensors": {"bytes": 0, "sha256": "", "tensors": []}},
    }
    (tmp_path / STATE_FILE).write_text(json.dumps(state))
    config = load("tiny_moe", [f"run.branch_from={tmp_path}", STAGE, DOUBLING])
    return rates_of(config, compare=["wsd:lr_max=0.01", "power:decay=linear"])


def test_the_points_are_those_of_the_branch(branched: Rates) -> None:
    first = 25 * 4096 + 35 * 8192  # the batch doubles behind 25 updates
    points = branched.evenly()
    assert (points[0].tokens, points[-1].tokens) == (first, branched.last)
    assert points[0].lr == pytest.approx(2 * 4 * first**-0.51, rel=1e-12)
    assert places(branched)[0] == first
    assert [segment.batch_tokens for segment in branched.segments] == [8192, 16384]


def test_other_schedules_decay_with_it(branched: Rates) -> None:
    start, end = branched.last - 300_000, branched.last
    middle = branched.at((start + end) // 2)
    before = branched.at(start)
    assert middle.compare["power:decay=linear"] == pytest.approx(before.lr / 2, rel=1e-4)
    assert before.compare["wsd:lr_max=0.01"] == 0.01
    assert branched.at(end).compare == {"wsd:lr_max=0.01": 0.0, "power:decay=linear": 0.0}


def test_only_rises_ahead_are_told(branched: Rates) -> None:
    ((segment, before, after),) = branched.rises
    assert segment.first_tokens > 600_000 > segment.first_tokens - 8192
    assert after == pytest.approx(2 * before, rel=0.02)
