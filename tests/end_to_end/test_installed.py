"""The wheel, from an empty folder: two packages, their configs, and the start script among them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trial import ROOT, RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(300)]
SOURCES = ("pretrain", "megatron_lite", "launch", "configs")


def pip(*arguments: str | Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel was installed; built from a copy, so that the checkout keeps no build folders."""
    work = tmp_path_factory.mktemp("install")
    for name in SOURCES:
        shutil.copytree(ROOT / name, work / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, work / "source" / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", work, work / "source")
    pip("install", "--no-deps", "--no-index", "--target", work / "site", *work.glob("*.whl"))
    return work / "site"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_two_packages_and_no_more_become_importable(installed: Path) -> None:
    packages = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert packages - {"bin", "__pycache__"} == {"pretrain", "megatron_lite"}
    configs = {path.name for path in (installed / "pretrain" / "configs").glob("*.yaml")}
    assert configs == {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_nothing_of_the_packages_is_left_behind(installed: Path) -> None:
    for package in ("pretrain", "megatron_lite"):
        ours = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        theirs = {path.relative_to(installed) for path in (installed / package).rglob("*.py")}
        assert ours <= theirs


def test_the_command_plans_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "-c", "import pretrain; print(pretrain.__file__)")
    assert where.stdout.startswith(str(installed))
    ended = run(
        installed,
        tmp_path,
        *("-m", "pretrain.cli", "plan", "--config", "3b_moe", "--json", "model.vocab_size=49152"),
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["parameters"]["total"] == 3_298_788_864


def test_the_start_script_trains_from_an_empty_folder(trial: Trial, installed: Path, tmp_path: Path) -> None:
    overrides = (
        "run.name=installed",
        "model.hidden_size=64",
        "model.num_hidden_layers=1",
        "model.num_attention_heads=2",
        "model.num_key_value_heads=2",
        "batch.sequences=4",
        "batch.sequence_length=128",
        "batch.micro_sequences=4",
        "stages=[{name: all, tokens: 4096, mix: {text: 1}}]",
        "schedule.warmup_tokens=512",
        "schedule.decay_tokens=0",
        "evaluate.sequences=4",
        f"data={{sources: {{text: {{kind: jsonl, path: {trial.folder / 'corpus.jsonl'}}}}}, "
        "tokenizer: {vocab_size: 512, sample_bytes: 200K}}",
    )
    ended = run(installed, tmp_path, "-m", "pretrain.launch.pretrain", "--config", "tiny_dense", *overrides)
    assert ended.returncode == 0, ended.stderr
    done = RunFiles(tmp_path / "runs" / "installed")
    assert done.status == {"state": "finished", "step": 8, "reason": None}
    script = installed / "pretrain" / "launch" / "pretrain.py"
    again = run(installed, tmp_path, str(script), "--config", "tiny_dense", *overrides)
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stderr
