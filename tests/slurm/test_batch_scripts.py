"""The batch scripts without a job: what they would start, from anywhere, and what they refuse."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import SCRIPTS
from trial import BIN, ROOT

RUNS = ("one_node", "many_nodes", "preemptible")
NOT_INHERITED = ("VIRTUAL_ENV", "VENV", "PYTHONPATH", "RANK", "WORLD_SIZE")


def bash(
    script: Path | str, *words: str, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in NOT_INHERITED and not key.startswith("SLURM_")
    }
    environment = kept | {"VENV": str(BIN.parent)} | variables
    path = SCRIPTS / f"{script}.sbatch" if isinstance(script, str) else script
    return subprocess.run(
        ["bash", str(path), *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def planned(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """The words of the srun line."""
    assert ended.returncode == 0, ended.stderr
    return next(line for line in ended.stdout.splitlines() if line.startswith("srun ")).split()


@pytest.mark.parametrize("script", [*RUNS, "sweep"])
def test_help_is_the_comment_of_the_script(script: str) -> None:
    ended = bash(script, "--help")
    assert ended.returncode == 0
    assert f"launch/slurm/{script}.sbatch" in ended.stdout
    assert "--dry-run" in ended.stdout
    assert "SBATCH" not in ended.stdout


@pytest.mark.parametrize(("script", "ranks"), [("one_node", 8), ("many_nodes", 16), ("preemptible", 32)])
def test_a_dry_run_says_what_the_script_itself_asks_for(script: str, ranks: int) -> None:
    ended = bash(script, "--dry-run", "--config", "3b_moe", "run.name=first")
    words = planned(ended)
    assert {f"--nodes={ranks // 8}", "--ntasks-per-node=8", "--gpu-bind=none"} <= set(words)
    start = [str(BIN / "python"), str(ROOT / "launch" / "pretrain.py")]
    assert words[-5:] == [*start, "--config", "3b_moe", "run.name=first"]
    assert f"# {ranks} ranks on {ranks // 8} nodes; the run folder is runs/first" in ended.stdout


JOB = {"SLURM_JOB_ID": "20017", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_CPUS_PER_NODE": "64(x2),48"}


@pytest.mark.parametrize(
    ("variables", "tasks", "cpus"),
    [
        ({"SLURM_GPUS_PER_NODE": "a100:4", "SLURM_GPUS_ON_NODE": "4"}, 4, 12),
        ({"SLURM_GPUS_ON_NODE": "8"}, 8, 6),
        ({}, 1, 48),
        ({"SLURM_NTASKS_PER_NODE": "2", "SLURM_GPUS_ON_NODE": "8"}, 2, 24),
        ({"SLURM_NTASKS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "10"}, 2, 10),
    ],
)
def test_in_a_job_tasks_and_cores_are_those_of_the_job(
    variables: dict[str, str], tasks: int, cpus: int
) -> None:
    words = planned(bash("many_nodes", "--dry-run", "--config", "tiny_dense", **JOB, **variables))
    assert {"--nodes=3", f"--ntasks-per-node={tasks}", f"--cpus-per-task={cpus}"} <= set(words)
    assert ("--gpu-bind=none" in words) == ("SLURM_GPUS_ON_NODE" in variables)


def test_in_an_image_the_ranks_start_by_pyxis_or_apptainer(tmp_path: Path) -> None:
    dry = ("--dry-run", "--config", "tiny_dense")
    inside = ["python", "/pretrain/launch/pretrain.py", "--config", "tiny_dense"]
    words = planned(bash("many_nodes", *dry, cwd=tmp_path, IMAGE="mine/pretrain:0.1.0", MOUNTS="/data:/data"))
    mounts = f"--container-mounts={tmp_path}:{tmp_path},/data:/data"
    where = ["--container-image=mine/pretrain:0.1.0", mounts, f"--container-workdir={tmp_path}"]
    assert words[-7:] == [*where, *inside]
    (tmp_path / "mine.sif").touch()
    words = planned(bash("many_nodes", *dry, cwd=tmp_path, IMAGE="mine.sif"))
    start = [
        "apptainer",
        "exec",
        "--nv",
        "--bind",
        f"{tmp_path}:{tmp_path}",
        "--pwd",
        str(tmp_path),
        "mine.sif",
    ]
    assert words[-12:] == [*start, *inside]
    assert "--nv" not in planned(bash("many_nodes", *dry, cwd=tmp_path, IMAGE="mine.sif", **JOB))
    absent = bash("many_nodes", *dry, cwd=tmp_path, IMAGE="absent.sif")
    assert (absent.returncode, "IMAGE: there is no absent.sif" in absent.stderr) == (2, True)


def test_a_missing_config_is_a_mistake_too() -> None:
    ended = bash("many_nodes", "--dry-run")
    assert ended.returncode == 2
    assert "--config" in ended.stderr


def test_more_tasks_than_gpus_are_refused() -> None:
    ended = bash(
        "one_node",
        "--dry-run",
        "--config",
        "tiny_dense",
        **JOB,
        SLURM_GPUS_PER_NODE="2",
        SLURM_NTASKS_PER_NODE="4",
    )
    assert ended.returncode == 2
    assert "4 tasks cannot share 2 GPUs" in ended.stderr


def test_a_misspelt_key_is_refused_before_anything_is_queued() -> None:
    ended = bash("many_nodes", "--dry-run", "--config", "3b_moe", "run.nam=first")
    assert ended.returncode == 2
    assert "run.nam" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_outside_a_job_nothing_is_started() -> None:
    ended = bash("one_node", "--config", "tiny_dense")
    assert ended.returncode == 2
    assert "sbatch" in ended.stderr


def test_a_folder_that_is_no_environment_is_named() -> None:
    ended = bash("one_node", "--dry-run", "--config", "tiny_dense", VENV="/nowhere")
    assert ended.returncode == 2
    assert "VENV: /nowhere" in ended.stderr


def test_words_reach_the_run_as_they_were_written(tmp_path: Path) -> None:
    ended = bash("one_node", "--dry-run", "--config", "tiny_dense", f"run.root={tmp_path}/my runs")
    assert f"'run.root={tmp_path}/my runs'" in ended.stdout


def test_a_copy_finds_what_the_scripts_share_from_the_checkout_or_by_name(tmp_path: Path) -> None:
    copy = tmp_path / "mine.sbatch"
    shutil.copy(SCRIPTS / "one_node.sbatch", copy)
    dry = ("--dry-run", "--config", "tiny_dense")
    assert planned(bash(copy, *dry))
    assert planned(bash(copy, *dry, cwd=tmp_path, PRETRAIN_SLURM=str(SCRIPTS)))
    lost = bash(copy, *dry, cwd=tmp_path)
    assert lost.returncode == 2
    assert "PRETRAIN_SLURM" in lost.stderr


def test_a_sweep_is_cut_by_the_array() -> None:
    array = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "8"}
    words = planned(bash("sweep", "--dry-run", "sweeps/lr.yaml", **array))
    assert words[-7:] == [
        str(BIN / "python"),
        "-m",
        "pretrain.cli",
        "sweep",
        "sweeps/lr.yaml",
        "--part",
        "3/8",
    ]
    assert planned(bash("sweep", "--dry-run", "lr.yaml", PARTS="16", **array))[-1] == "3/16"
    on_gpus = planned(bash("sweep", "--dry-run", "lr.yaml", SLURM_GPUS_PER_NODE="h100:2", **array))
    assert on_gpus[-4:] == ["--jobs", "2", "--part", "3/8"]
    alone = bash("sweep", "lr.yaml", SLURM_JOB_ID="9")
    assert alone.returncode == 2
    assert "--array" in alone.stderr


def test_in_an_installed_package_the_scripts_lie_beside_the_start_script(tmp_path: Path) -> None:
    site, skipped = tmp_path / "site", shutil.ignore_patterns("__pycache__")
    for source, target in INSTALLED.items():
        shutil.copytree(ROOT / source, site / target, ignore=skipped)
    script = site / "pretrain" / "launch" / "slurm" / "many_nodes.sbatch"
    words = planned(bash(script, "--dry-run", "--config", "tiny_dense", cwd=tmp_path))
    assert words[-3:] == [str(site / "pretrain" / "launch" / "pretrain.py"), "--config", "tiny_dense"]
    assert planned(bash(script.with_name("sweep.sbatch"), "--dry-run", "lr.yaml", cwd=tmp_path))


INSTALLED = {
    "pretrain": "pretrain",
    "megatron_lite": "megatron_lite",
    "launch": "pretrain/launch",
    "configs": "pretrain/configs",
}


def documented() -> list[str]:
    """Every command of docs/slurm.md that starts a script, and those in the scripts' own comments."""
    texts = [(ROOT / "docs" / "slurm.md").read_text(encoding="utf-8")]
    texts += [(SCRIPTS / f"{name}.sbatch").read_text(encoding="utf-8") for name in (*RUNS, "sweep")]
    command = r"^(?:# |    )? +((?:\w+=\w+ )?(?:sbatch|bash) (?:.*)launch/slurm/\w+\.sbatch.*)$"
    return sorted({found for text in texts for found in re.findall(command, text, re.M)})


def test_every_command_of_the_documents_parses() -> None:
    known = {f"--{name}" for name in ("nodes", "gpus-per-node", "array", "dependency", "job-name")}
    commands = documented()
    assert len(commands) >= 8, commands
    starts = set()
    for words in map(shlex.split, commands):
        at = next(index for index, word in enumerate(words) if word.endswith(".sbatch"))
        assert {word.split("=")[0] for word in words[:at] if word.startswith("--")} <= known
        starts.add((words[at], *words[at + 1 :]))
    for script, *words in sorted(starts):
        ended = bash(ROOT / script, *words, "--dry-run")
        assert ended.returncode == 0, f"{script} {words}: {ended.stderr}"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here")
def test_shellcheck_is_content() -> None:
    files = [*SCRIPTS.glob("*.sbatch"), SCRIPTS / "job.sh"]
    ended = subprocess.run(
        ["shellcheck", "-x", *map(str, files)], cwd=SCRIPTS, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout
