"""Branches: what a run is that goes on from another's checkpoint, read from its JSON alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretrain.checkpoint.format import STATE_FILE
from pretrain.config.derive import Derived, derive
from pretrain.config.load import load
from pretrain.config.past import as_json, branch_point, derived_of, saved_past
from pretrain.errors import UserError

BATCH = 8 * 512
RAMP = "batch.schedule={name: ramp, max_sequences: 32, tokens: 400K}"
STABLE, DECAY = (
    "{name: stable, tokens: 10M, mix: {python: 1}}",
    "{name: decay, tokens: 300K, mix: {python: 1}}",
)
TRUNK = [f"stages=[{STABLE}]", "schedule.decay_tokens=0"]


@pytest.fixture(autouse=True)
def beside_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the same name, as `make pretrain` leaves one here, would be gone on with."""
    monkeypatch.chdir(tmp_path)


def save(folder: Path, config: list[str], step: int, past: Any = None) -> Derived:
    """A checkpoint of which only the JSON is there."""
    run = load("tiny_moe", config)
    derived = derived_of(run)
    here = derived.until(step).here
    position = {"step": here.step, "tokens": here.tokens, "sequence": here.sequence, "expert_counts": None}
    state = {
        "format": 1,
        "position": position,
        "config": run.model_dump(mode="json"),
        "past": as_json(derived.past),
        "files": {"exp_avg_sq-00000.safetensors": {"bytes": 0, "sha256": "", "tensors": []}},
    }
    folder.mkdir(parents=True)
    (folder / STATE_FILE).write_text(json.dumps(state))
    return derived


def branch(folder: Path, *overrides: str) -> Derived:
    return derived_of(load("tiny_moe", [f"run.branch_from={folder}", *overrides]))


def updates(derived: Derived, first: int) -> list[tuple]:
    """Everything that the updates from `first` on are made with."""
    found = [derived.timeline.update(step) for step in range(first, derived.steps)]
    return [(update, derived.lr(update.tokens), dict(derived.stage_at(update.step).mix)) for update in found]


@pytest.mark.parametrize("batch", [[], [RAMP]], ids=["constant", "ramp"])
@pytest.mark.parametrize("step", [20, 40, 90])
def test_a_decay_behind_any_checkpoint_is_what_one_run_would_have_been(
    tmp_path: Path, batch: list[str], step: int
) -> None:
    trunk = save(tmp_path / "trunk", [*TRUNK, *batch], step)
    tokens = trunk.timeline.update(step).tokens
    single = derive(load("tiny_moe", [*batch, f"stages=[{STABLE.replace('10M', str(tokens))}, {DECAY}]"]))
    for stages in (f"stages=[{DECAY}]", f"stages=[{STABLE.replace('10M', str(tokens))}, {DECAY}]"):
        branched = branch(tmp_path / "trunk", *batch, stages)
        assert (branched.first_step, branched.first_tokens) == (step, tokens)
        assert branched.tokens == single.tokens
        assert updates(branched, step) == updates(single, step)
        assert branched.stages[-1] == single.stages[-1]


def test_the_whole_run_goes_on_with_its_begun_stage_first(tmp_path: Path) -> None:
    save(tmp_path / "trunk", TRUNK, 40)
    whole = f"stages=[{STABLE.replace('10M', '300K')}, {DECAY}]"
    branched, single = branch(tmp_path / "trunk", whole), derive(load("tiny_moe", [whole]))
    assert updates(branched, 40) == updates(single, 40)
    assert [stage.steps for stage in branched.stages] == [74, 74]


INSIDE = "schedule={name: power, lr_max: 1, warmup_tokens: 70K, decay_tokens: 900K}"
SEESAW = "batch.schedule={name: seesaw, max_sequences: 64, multiple_of: 2}"
COSINE = "schedule={name: cosine, lr_max: 0.01, warmup_tokens: 50K}"


@pytest.mark.parametrize("run", [[RAMP, INSIDE], [SEESAW, COSINE]], ids=["power", "seesaw"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.8, 0.95])
def test_the_same_config_from_any_of_its_checkpoints_is_the_same_run(
    tmp_path: Path, run: list[str], share: float
) -> None:
    """Also where warm-up and decay begin inside an update, and behind a stage that was rounded up."""
    whole = derive(load("tiny_moe", run))
    step = round(share * whole.steps)
    save(tmp_path / "trunk", run, step)
    branched = branch(tmp_path / "trunk", *run)
    assert updates(branched, step) == updates(whole, step)
    assert [branched.batch.tokens_at(n) for n in range(0, whole.tokens, 997)] == [
        whole.batch.tokens_at(n) for n in range(0, whole.tokens, 997)
    ]


def test_a_branch_needs_no_schedule_of_its_trunk(tmp_path: Path) -> None:
    """A schedule of one's own may be gone, or there may be another of its name by now."""
    save(tmp_path / "trunk", TRUNK, 40)
    file = tmp_path / "trunk" / STATE_FILE
    state = json.loads(file.read_text())
    state["config"]["schedule"] = {"name": "lost", "plugin": "gone.py"}
    file.write_text(json.dumps(state))
    assert branch(tmp_path / "trunk", f"stages=[{DECAY}]").first_step == 40


def test_a_branch_of_a_branch_knows_all_that_lies_behind(tmp_path: Path) -> None:
    trunk, first = tmp_path / "trunk", tmp_path / "first"
    save(trunk, [*TRUNK, RAMP], 40)
    other = f"stages=[{STABLE.replace('stable', 'other')}]"
    save(first, [*TRUNK, RAMP, other, f"run.branch_from={trunk}"], 60)
    second = branch(first, RAMP, f"stages=[{DECAY}]")
    assert [(stage.name, stage.steps) for stage in second.stages][:2] == [("stable", 40), ("other", 20)]
    single = derive(load("tiny_moe", [RAMP, f"stages=[{STABLE}]", "schedule.decay_tokens=0"]))
    assert [second.timeline.update(step) for step in range(60)] == [
        single.timeline.update(step) for step in range(60)
    ]


def test_another_batch_behind_the_branch_leaves_the_past_as_it_was(tmp_path: Path) -> None:
    trunk = save(tmp_path / "trunk", TRUNK, 40)
    branched = branch(tmp_path / "trunk", "batch.sequences=16", f"stages=[{DECAY}]")
    assert branched.timeline.update(39) == trunk.timeline.update(39)
    assert branched.timeline.update(40).sequences == 16
    assert branched.lr(40 * BATCH) == pytest.approx(2 * 4.0 * (40 * BATCH) ** -0.51, rel=1e-12)


def test_a_past_survives_json(tmp_path: Path) -> None:
    run = derive(load("tiny_moe", [RAMP, "schedule.decay_tokens=0"]))
    past = run.until(77)
    saved = json.loads(json.dumps(as_json(past)))
    from pretrain.checkpoint.load import Checkpoint

    save(tmp_path / "trunk", [RAMP, "schedule.decay_tokens=0"], 77)
    checkpoint = Checkpoint(tmp_path / "trunk")
    assert branch_point(checkpoint) == past
    checkpoint.state["past"] = saved
    assert saved_past(checkpoint) == past


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (
            f"[{DECAY.replace('300K', '200K')}]",
            "decay_tokens=300000 would begin at 64544 .*163840; at most 200704 are",
        ),
        (
            f"[{STABLE.replace('python: 1', 'other: 1')}, {DECAY}]",
            "stages.0.mix: was .*python.* rename",
        ),
        (
            f"[{STABLE.replace('10M', '100K')}, {DECAY}]",
            "stages.0.tokens: is 100000, and 163840 tokens of",
        ),
        (f"[{STABLE.replace('10M', '160K')}]", "stages: nothing is left to train behind 163840 tokens"),
    ],
)
def test_what_does_not_go_on_from_there(tmp_path: Path, stages: str, sentence: str) -> None:
    save(tmp_path / "trunk", TRUNK, 40)
    other = "data.sources={python: {kind: python}, other: {kind: python}}"
    with pytest.raises(UserError, match=sentence):
        branch(tmp_path / "trunk", other, f"stages={stages}")


def test_where_there_is_nothing_to_branch_from(tmp_path: Path) -> None:
    (tmp_path / "trunk").mkdir()
    with pytest.raises(UserError, match=r"run.branch_from: .*no such folder. Did you mean 'trunk'"):
        branch(tmp_path / "trnk")
    save(tmp_path / "imported", TRUNK, 40)
    state = json.loads((tmp_path / "imported" / STATE_FILE).read_text())
    state["files"] = {"weight-00000.safetensors": {"bytes": 0, "sha256": "", "tensors": []}}
    (tmp_path / "imported" / STATE_FILE).write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"holds weights and no moments; run.init_from begins with weights"):
        branch(tmp_path / "imported")
