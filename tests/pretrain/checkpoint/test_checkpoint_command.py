"""`pretrain checkpoint`: what it shows of a checkpoint, what it finds wrong, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from stored_state import SHAPES, StoredState, save_alone, savers
from typer.testing import CliRunner, Result

from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.position import Position
from pretrain.commands import checkpoint as commands
from pretrain.errors import UserError

KEEPING = CheckpointOptions(asynchronous=False, keep_last=9)
APP = typer.Typer()
APP.command()(commands.inspect)
APP.command()(commands.verify)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with three checkpoints."""
    for step in (5, 7, 9):
        save_alone(tmp_path / "checkpoints", step, step, KEEPING)
    return tmp_path


def called(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_a_whole_run_is_whole(run_folder: Path) -> None:
    result = called("verify", run_folder)
    assert result.exit_code == 0
    assert result.stdout.count(": whole, ") == 3
    found = json.loads(called("verify", run_folder, "--json").stdout)
    assert [one["whole"] for one in found] == [True] * 3
    assert found[0]["bytes"] > 4 * 90 * 3


def test_every_damaged_file_is_named_with_what_is_wrong(run_folder: Path) -> None:
    root = run_folder / "checkpoints"
    (root / "step_00000005" / "weight-00000.safetensors").write_bytes(b"cut")
    (root / "step_00000005" / "exp_avg-00000.safetensors").unlink()
    changed = root / "step_00000007" / "exp_avg_sq-00000.safetensors"
    changed.write_bytes(bytes(changed.stat().st_size))
    (root / "step_00000007" / "extra.pt").touch()
    (root / "step_00000009" / "state.json").unlink()
    result = called("verify", run_folder, "--json")
    assert result.exit_code == 1
    found = {
        Path(problem["file"]).relative_to(root).as_posix(): problem["what"]
        for one in json.loads(result.stdout)
        for problem in one["problems"]
    }
    assert found == {
        "step_00000005/weight-00000.safetensors": "truncated",
        "step_00000005/exp_avg-00000.safetensors": "missing",
        "step_00000007/exp_avg_sq-00000.safetensors": "changed",
        "step_00000007/extra.pt": "extra",
        "step_00000009/state.json": "missing",
    }
    shown = called("verify", root / "step_00000005", root / "step_00000007")
    assert shown.exit_code == 1
    assert all(name in shown.stdout for name in list(found)[:4])
    assert called("verify", root / "step_00000009").exit_code == 1


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_where_there_is_none_it_is_a_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for command in ("verify", "inspect"):
        assert isinstance(called(command, tmp_path / name).exception, UserError)


def inspected(path: Path) -> dict[str, Any]:
    return json.loads(called("inspect", path, "--json").stdout)


def test_what_is_held_is_shown(run_folder: Path) -> None:
    facts = inspected(run_folder)  # its newest
    assert (facts["step"], facts["tokens"], facts["format"]) == (9, 90, 1)
    assert set(facts["parameters"]) == {"weight", "exp_avg", "exp_avg_sq"}
    for one in facts["parameters"].values():
        assert {name: tuple(shape) for name, shape in one["shapes"].items()} == SHAPES
        assert (one["tensors"], one["numbers"], one["bytes"]) == (4, 90, 360)
    assert facts["saved"] == {"ranks": 1, "asynchronous": False}
    assert facts["sha256"] == Checkpoint(run_folder / "checkpoints" / "step_00000009").state["sha256"]
    assert inspected(run_folder / "checkpoints" / "step_00000005")["step"] == 5


def test_guard_data_and_config_are_shown(tmp_path: Path) -> None:
    (saver,) = savers(tmp_path, KEEPING, 1)
    facts = {"config": {"run": {"seed": 1}}, "fingerprint": {"tokenizer": "ab" * 32}}
    saver.save(StoredState(1), Position(step=3, expert_counts=[[5, 6]]), facts, score=2.5)
    found = inspected(tmp_path)
    assert found["guard"]["expert_counts"] == [[5, 6]]
    assert found["validation_loss"] == 2.5
    assert found["fingerprint"] == {"tokenizer": "ab" * 32}
    assert len(found["config_sha256"]) == 64
    shown = called("inspect", tmp_path)
    assert shown.exit_code == 0
    for word in ("embedding", "7 x 3", "2.5000", "[[5, 6]]", "abababababab", found["config_sha256"][:12]):
        assert word in shown.stdout


def test_neither_command_loads_torch(run_folder: Path) -> None:
    for command in ("verify", "inspect"):
        script = (
            f"import sys; from pathlib import Path; from pretrain.commands import checkpoint as commands; "
            f"argument = Path({str(run_folder)!r}); "
            f"commands.{command}([argument] if {command!r} == 'verify' else argument); "
            "sys.exit('torch' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-2000:]
