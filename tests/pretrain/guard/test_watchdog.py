"""Ranks that hang, are stopped or die: the others end in time, and name the right one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretrain.guard.watchdog import AGAIN
from pretrain.monitor.status import read_status, write_status

pytestmark = [pytest.mark.dist, pytest.mark.timeout(200)]
ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).parent / "watched_rank.py"
SECONDS = 4.0


class Job:
    """Ranks of a run, started without a launcher: nobody but they themselves can end them."""

    def __init__(self, folder: Path, num_ranks: int, deed: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        told = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(num_ranks)}
        base = os.environ | told | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.logs = [folder / f"{rank}.log" for rank in range(num_ranks)]
        self.processes = []
        for rank, log in enumerate(self.logs):
            with log.open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, str(WORKER), str(folder), str(SECONDS), deed],
                        env=base | {"RANK": str(rank)},
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def codes(self, *ranks: int) -> list[int]:
        """Exit codes of these ranks, once they have ended."""
        return [self.processes[rank].wait(100) for rank in ranks]

    def said(self, rank: int) -> str:
        return self.logs[rank].read_text()


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[list[Job]]:
    write_status(tmp_path, "running", 0)
    started: list[Job] = []
    yield started
    for job in started:
        for process in job.processes:
            process.kill()
            process.wait()


def ended(folder: Path) -> tuple[str, list[dict[str, str]]]:
    """The reason in status.json, and the events."""
    status = read_status(folder)
    assert status is not None
    assert status.state == "failed"
    assert status.reason is not None
    lines = (folder / "events.jsonl").read_text().splitlines()
    return status.reason, [json.loads(line) for line in lines]


def test_a_rank_that_hangs_is_named_and_all_end(tmp_path: Path, jobs: list[Job]) -> None:
    jobs.append(job := Job(tmp_path, 3, "1:hang"))
    assert job.codes(0, 1, 2) == [AGAIN] * 3
    reason, events = ended(tmp_path)
    assert f"rank 1 (process {job.processes[1].pid} on {socket.gethostname()}) is late: in 'read 5'" in reason
    assert [event["event"] for event in events] == ["hang"]
    assert events[0]["reason"] == reason
    for rank in range(3):
        stacks = (tmp_path / f"stacks.rank_{rank}.txt").read_text()
        assert "watched_rank.py" in stacks
        assert "watched_rank.py" in job.said(rank)
        assert reason.split(": ", 1)[1] in job.said(rank)  # each by its own clock, of the same rank
    assert "barrier" in (tmp_path / "stacks.rank_0.txt").read_text()
    assert "barrier" not in (tmp_path / "stacks.rank_1.txt").read_text()


@pytest.mark.parametrize(
    "stopped",
    [
        pytest.param(1, id="another rank", marks=pytest.mark.slow),
        pytest.param(0, id="the first rank, and with it the store"),
    ],
)
def test_a_stopped_rank_is_named(tmp_path: Path, jobs: list[Job], stopped: int) -> None:
    jobs.append(job := Job(tmp_path, 2, f"{stopped}:stop"))
    assert job.codes(1 - stopped) == [AGAIN]
    reason, events = ended(tmp_path)
    assert f"rank {stopped} (process {job.processes[stopped].pid} on" in reason
    assert "is stopped" in reason
    assert [event["event"] for event in events] == ["hang"]
    job.processes[stopped].send_signal(signal.SIGCONT)  # and when it wakes up it does not stay
    assert job.codes(stopped) == [AGAIN]


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_rank_is_named_at_once(tmp_path: Path, jobs: list[Job], killed: int) -> None:
    jobs.append(job := Job(tmp_path, 2, f"{killed}:stop"))
    time.sleep(1)
    while not stopped(job.processes[killed].pid):
        time.sleep(0.05)
    job.processes[killed].kill()
    began = time.monotonic()
    assert job.codes(1 - killed) == [AGAIN]
    assert time.monotonic() - began < 60
    assert f"rank {killed} (process {job.processes[killed].pid} on" in job.said(1 - killed)
    assert "is gone" in job.said(1 - killed)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


@pytest.mark.slow
def test_a_run_that_moves_is_left_alone(tmp_path: Path, jobs: list[Job]) -> None:
    jobs.append(job := Job(tmp_path, 2, "none"))
    assert job.codes(0, 1) == [0, 0]
    assert not (tmp_path / "events.jsonl").exists()
