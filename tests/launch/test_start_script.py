"""The start script: a process's place among all by each launcher's variables, and what it may import."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pretrain.ranks import Ranks

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "pretrain.py"


@pytest.fixture(scope="module")
def ranks_from() -> Callable[[Mapping[str, str]], Ranks]:
    return runpy.run_path(str(SCRIPT))["ranks_from"]


CASES = {
    "alone": (
        {"PATH": "/bin"},
        Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0),
    ),
    "torchrun": (
        {
            "RANK": "5",
            "WORLD_SIZE": "8",
            "LOCAL_RANK": "1",
            "LOCAL_WORLD_SIZE": "4",
            "MASTER_ADDR": "node7",
            "MASTER_PORT": "1234",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "2",
        },
        Ranks(rank=5, size=8, local_rank=1, local_size=4, address="node7", port=1234, served=True, attempt=2),
    ),
    "deepspeed": (
        {
            "RANK": "9",
            "WORLD_SIZE": "16",
            "LOCAL_RANK": "1",
            "LOCAL_SIZE": "8",
            "CROSS_RANK": "1",
            "MASTER_ADDR": "10.0.0.1",
            "MASTER_PORT": "29500",
        },
        Ranks(rank=9, size=16, local_rank=1, local_size=8, address="10.0.0.1", port=29500),
    ),
    "slurm, two nodes": (
        {
            "SLURM_NTASKS": "16",
            "SLURM_PROCID": "11",
            "SLURM_LOCALID": "3",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_STEP_NODELIST": "gpu[03-04]",
            "SLURM_JOB_ID": "54321",
        },
        Ranks(rank=11, size=16, local_rank=3, local_size=8, address="gpu03", port=20000 + 54321 % 20000),
    ),
    "slurm, told where to meet": (
        {
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": "1",
            "SLURM_LOCALID": "1",
            "MASTER_ADDR": "a",
            "MASTER_PORT": "7",
        },
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="a", port=7),
    ),
    "a shell inside an allocation, without srun": (
        {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "3"},
        Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0),
    ),
    "a launcher's variables before Slurm's": (
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="127.0.0.1", port=29500),
    ),
}


@pytest.mark.parametrize("launcher", CASES)
def test_the_place_among_ranks(ranks_from: Callable[[Mapping[str, str]], Ranks], launcher: str) -> None:
    environ, ranks = CASES[launcher]
    assert ranks_from(environ) == ranks


def started(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, env=environ, capture_output=True, text=True
    )


def test_it_finds_the_package_and_not_itself_from_any_folder(tmp_path: Path) -> None:
    ended = started("--help", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "--config" in ended.stdout
    assert "local_rank" not in ended.stdout  # the launcher's, not the user's


def test_it_finds_the_package_from_its_own_folder() -> None:
    assert started("--help", folder=SCRIPT.parent).returncode == 0


def test_nothing_beside_the_script_shadows_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "pretrain.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "yaml.py").write_text("raise SystemExit('shadowed')")
    ended = started("--config", "absent", folder=tmp_path)
    assert ended.returncode == 2
    assert "no config 'absent'" in ended.stderr
    assert "Traceback" not in ended.stderr
