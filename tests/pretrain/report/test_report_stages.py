"""A branch's stages come behind the checkpoint, or describe the whole run: the report counts them alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from megatron_lite.model.parameters import flops_per_token
from pretrain.checkpoint.format import STATE_FILE
from pretrain.config.derive import Derived, derive, model_shape
from pretrain.config.load import dump, load
from pretrain.config.past import as_json, derived_of
from pretrain.errors import UserError
from pretrain.monitor.record import Record
from pretrain.report.against import Against
from pretrain.report.compared import spent
from pretrain.report.facts import header, planned_tokens
from pretrain.report.happenings import marks
from pretrain.report.run import RunRecord, read_run
from pretrain.report.stages import stage_ends

BATCH = 8 * 512
TRUNK_STEPS, STEPS = 40, 60  # of the branch those behind the trunk's
TRUNK_TOKENS = TRUNK_STEPS * BATCH
SHORT = "sequence_length: 256, "
STABLE = f"{{name: stable, tokens: {50 * BATCH}, mix: {{python: 1}}}}"
DECAY = f"{{name: decay, {SHORT}tokens: {100 * BATCH}, mix: {{python: 1}}}}"
LAST = f"{{name: last, tokens: {30 * BATCH}, mix: {{python: 1}}}}"


def save(folder: Path, config: str, step: int, derived: Derived) -> None:
    """A checkpoint of which only the JSON is there."""
    here = derived.until(step).here
    state = {
        "format": 1,
        "position": {
            "step": here.step, "tokens": here.tokens, "sequence": here.sequence, "expert_counts": None,
        },
        "config": load(config).model_dump(mode="json"),
        "past": as_json(derived.past),
        "files": {"exp_avg_sq-00000.safetensors": {"bytes": 0, "sha256": "", "tensors": []}},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / STATE_FILE).write_text(json.dumps(state))


def branch(root: Path, *stages: str, init_tokens: int = 0) -> tuple[RunRecord, Derived]:
    """A run that goes on from a trunk's checkpoint, and what it makes of its config itself."""
    trunk, origin = root / "trunk.yaml", root / "runs" / "trunk" / "checkpoints" / "step_00000040"
    weights = [f"run.init_tokens={init_tokens}", "run.init_from=else"] if init_tokens else []
    config = load("tiny_moe", [f"stages=[{STABLE}]", "schedule.decay_tokens=0", *weights])
    trunk.write_text(dump(config))
    save(origin, str(trunk), TRUNK_STEPS, derive(config))
    folder = root / "runs" / "branch"
    config = load(
        "tiny_moe",
        [f"run.root={root / 'runs'}", "run.name=branch", f"run.branch_from={origin}",
         f"stages=[{', '.join(stages)}]", "schedule.decay_tokens=0"],
    )  # fmt: skip
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(config))
    record, derived = Record(folder), derived_of(config)
    record.event("branch", step=TRUNK_STEPS, parent={"checkpoint": str(origin)})
    for step in range(TRUNK_STEPS + 1, TRUNK_STEPS + STEPS + 1):
        tokens = init_tokens + step * BATCH
        line = {"kind": "train", "step": step, "tokens": tokens, "batch_tokens": BATCH, "loss": 3.0}
        record.metrics.append(line | {"lr": 0.01, "grad_norm": 1.0})
    record.close()
    return read_run(folder), derived


def begins(run: RunRecord) -> list[float]:
    return [mark.x for mark in marks(run) if mark.kind == "stage"]


@pytest.mark.parametrize("init_tokens", [0, 1000 * BATCH])
def test_a_config_of_the_whole_run_counts_its_stages_from_the_trunks_beginning(
    tmp_path: Path, init_tokens: int
) -> None:
    run, derived = branch(tmp_path, STABLE, DECAY, init_tokens=init_tokens)
    assert planned_tokens(run) == derived.tokens == init_tokens + 150 * BATCH
    assert f"{run.train['tokens'][-1] / derived.tokens:.1%} of" in header(run)
    assert begins(run) == [derived.stages[1].first_tokens]


def test_other_stages_come_behind_the_trunk(tmp_path: Path) -> None:
    run, derived = branch(tmp_path, LAST, DECAY)
    assert planned_tokens(run) == derived.tokens == TRUNK_TOKENS + 130 * BATCH
    assert begins(run) == [derived.stages[2].first_tokens] == [TRUNK_TOKENS + 30 * BATCH]


@pytest.mark.parametrize(("first", "long"), [(STABLE, 10), (LAST, 30)])
def test_flops_are_by_the_lengths_of_the_stages_as_they_were(tmp_path: Path, first: str, long: int) -> None:
    run, _ = branch(tmp_path, first, DECAY)
    shape = model_shape(load("tiny_moe"))
    lengths = [512] * (TRUNK_STEPS + long) + [256] * (STEPS - long)
    wanted = np.cumsum([BATCH * flops_per_token(shape, length) for length in lengths])[TRUNK_STEPS:]
    np.testing.assert_allclose(spent(run, Against.FLOPS), wanted)


def test_the_runs_own_checkpoint_tells_its_past_when_the_trunk_is_gone(tmp_path: Path) -> None:
    run, derived = branch(tmp_path, STABLE, DECAY)
    config = str(run.folder / "config.yaml")
    save(run.folder / "checkpoints" / "step_00000100", config, TRUNK_STEPS + STEPS, derived)
    shutil.rmtree(tmp_path / "runs" / "trunk")
    moved = run.folder.rename(tmp_path / "elsewhere")
    assert planned_tokens(read_run(moved)) == derived.tokens


def test_the_trunk_is_found_where_the_run_noted_it(tmp_path: Path) -> None:
    """The config may name it from where the run was started."""
    run, derived = branch(tmp_path, STABLE, DECAY)
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace(str(tmp_path / "runs" / "trunk"), "runs/trunk"))
    assert planned_tokens(read_run(run.folder)) == derived.tokens


def test_without_any_checkpoint_it_is_not_known_where_the_stages_end(tmp_path: Path) -> None:
    run, _ = branch(tmp_path, STABLE, DECAY)
    shutil.rmtree(tmp_path / "runs" / "trunk")
    assert stage_ends(run) is None
    assert planned_tokens(run) is None
    assert begins(run) == []
    assert "progress" not in header(run)
    with pytest.raises(UserError, match=r"--against flops: .*branch"):
        spent(run, Against.FLOPS)


def test_a_run_that_is_no_branch_counts_from_its_first_update(make_run) -> None:
    run = read_run(make_run(steps=40))
    assert planned_tokens(run) == 40 * BATCH
    assert begins(run) == [30 * BATCH]
