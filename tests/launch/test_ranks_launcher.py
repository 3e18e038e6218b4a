"""launch/ranks.py: ranks on one machine or several, their exit codes, and signals that wait for a save."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trial import Trial, free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "ranks.py"

# the launcher with another start script than launch/pretrain.py: what stands in DEED
DRIVER = """
import os, runpy, sys
launcher = runpy.run_path(sys.argv[1])
launcher["Ranks"].wait.__globals__["JOINT_SECONDS"] = float(os.environ.get("JOINT_SECONDS", 60))
layout = launcher["layout_from"](os.environ, lambda: 0)
sys.exit(launcher["Ranks"]([sys.executable, "-c", os.environ["DEED"]], layout, os.environ).wait())
"""


def environ(**variables: str) -> dict[str, str]:
    left_out = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODES", "NODE_RANK")
    inherited = {key: value for key, value in os.environ.items() if key not in left_out}
    return inherited | {"PYTHONPATH": str(ROOT), "RANKS_PER_NODE": "3", "MASTER_PORT": "1"} | variables


def drive(deed: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(SCRIPT)],
        env=environ(
            DEED=f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{deed}", **variables
        ),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit([0, 75, 1][rank])", 75),
        ("sys.exit(2)", 2),
        ("os.kill(os.getpid(), 9) if rank == 1 else sys.exit(75)", 137),
    ],
)
def test_the_largest_exit_code_is_passed_on_as_it_is(deed: str, code: int) -> None:
    process = drive(deed)
    assert process.wait(60) == code


def test_each_rank_is_told_its_place() -> None:
    names = "('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')"
    say = f"os.write(1, (' '.join(os.environ[name] for name in {names}) + '\\n').encode())"
    machine = {"NODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first", "MASTER_PORT": "9"}
    said, _ = drive(say, **machine).communicate(timeout=60)
    assert sorted(said.splitlines()) == [f"{3 + local} 6 {local} 3 first 9" for local in range(3)]


def test_a_signal_reaches_every_rank_and_waits_for_it() -> None:
    deed = "\n".join(
        (
            "def save(*_): time.sleep(1); os.write(1, b'saved\\n'); sys.exit(0)",
            "signal.signal(signal.SIGTERM, save)",
            "os.write(1, b'ready\\n')",
            "time.sleep(60)",
        )
    )
    process = drive(deed)
    assert process.stdout
    for _ in range(3):
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "saved\n" * 3)


def test_ranks_that_stay_behind_are_ended() -> None:
    began = time.monotonic()
    process = drive("sys.exit(75) if rank == 0 else time.sleep(120)", JOINT_SECONDS="1")
    assert process.wait(60) == 128 + signal.SIGKILL
    assert time.monotonic() - began < 30


def launched(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=folder,
        env=environ(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_dry_run_says_where_and_what(tmp_path: Path) -> None:
    words = ("--config", "tiny_dense", f"run.root={tmp_path}/my runs")
    pod = {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "a-1", "NODES": "2", "MASTER_PORT": "7"}
    ended = launched("--dry-run", *words, folder=tmp_path, **pod)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().endswith(
        f"launch/pretrain.py --config tiny_dense 'run.root={tmp_path}/my runs'"
    )
    assert "6 rank(s) on 2 machine(s)" in ended.stderr
    assert "machine 1; they meet at a-0.a:7" in ended.stderr


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (("--config", "tiny_dense", "run.nam=x"), {}, "run.nam"),
        (("--config", "tiny_dense"), {"NODES": "2"}, "NODE_RANK: of 2 machines"),
    ],
)
def test_a_mistake_starts_nothing(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    ended = launched(*words, folder=tmp_path, **variables)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def machine(trial: Trial, name: str, *options: str, **variables: str) -> subprocess.Popen[bytes]:
    """The launcher of one machine, started."""
    command = [
        sys.executable,
        str(SCRIPT),
        *options,
        "--config",
        "dense.yaml",
        f"run.name={name}",
        "run.engine=torch",
    ]
    with (trial.folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=trial.folder, env=trial.environment | variables, stdout=log, stderr=log
        )


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.timeout(900)
def test_a_run_on_two_machines_is_stopped_continued_and_the_run_of_one(trial: Trial) -> None:
    whole = trial.finished("whole", "run.engine=torch")
    run = trial.files("pair")
    where = {"NODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for attempt in range(2):
        both = [machine(trial, "pair", "--again", NODE_RANK=str(node), **where) for node in range(2)]
        end = time.monotonic() + 240
        while attempt == 0 and len(run.lines(kind="train")) < 4:
            assert time.monotonic() < end, (trial.folder / "pair.log").read_text()[-4000:]
            time.sleep(0.05)
        if attempt == 0:
            both[1].send_signal(signal.SIGTERM)  # one machine is enough
        codes = [process.wait(240) for process in both]
        assert codes == ([75, 75] if attempt == 0 else [0, 0])
        assert run.status["state"] == ("continue" if attempt == 0 else "finished")
    assert run.losses == pytest.approx(whole.losses, abs=1e-4)


def test_under_slurm_on_several_nodes_srun_must_start_it(tmp_path: Path) -> None:
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "g[01-02]"}
    ended = launched("--dry-run", "--config", "tiny_dense", folder=tmp_path, **job)
    assert ended.returncode == 2
    assert "the job has 2 nodes; srun starts it on each" in ended.stderr
