"""Ranks of this machine, started for the measurement alone, and ended whatever happens."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pretrain.doctor.limits import Failed, last_words
from pretrain.doctor.measure import Measured
from pretrain.ranks import Ranks

POLL_SECONDS = 0.1


def measured_by_starting(
    num_ranks: int, folders: Sequence[Path], environ: Mapping[str, str], seconds: float
) -> list[Measured]:
    """What `num_ranks` processes measure together; Failed with the last words of the first that fails."""
    # Threads that spin while they wait starve other ranks on a CPU; launch/pretrain.py sets the same
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **environ}
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        started = []
        try:
            for rank in range(num_ranks):
                started.append(_start(_ranks(rank, num_ranks, port), folders, environment, Path(folder)))
            _wait(started, Path(folder), seconds)
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
        told = (Path(folder) / "0.out").read_text(encoding="utf-8")
    return [Measured(**one) for one in json.loads(told.strip().splitlines()[-1])]


def _start(
    ranks: Ranks, folders: Sequence[Path], environ: Mapping[str, str], told: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pretrain.doctor.worker", json.dumps(asdict(ranks)), *map(str, folders)]
    with (told / f"{ranks.rank}.out").open("wb") as out, (told / f"{ranks.rank}.err").open("wb") as errors:
        return subprocess.Popen(command, stdout=out, stderr=errors, env=dict(environ))


def _wait(started: Sequence[subprocess.Popen[bytes]], told: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while any(process.poll() is None for process in started):
        for rank, process in enumerate(started):
            if process.poll():
                words = last_words((told / f"{rank}.err").read_text(encoding="utf-8", errors="replace"))
                raise Failed(f"rank {rank}: {words or f'exit code {process.returncode}'}")
        if time.monotonic() > until:
            raise Failed(f"the ranks did not finish within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    for rank, process in enumerate(started):
        if process.returncode:
            words = last_words((told / f"{rank}.err").read_text(encoding="utf-8", errors="replace"))
            raise Failed(f"rank {rank}: {words or f'exit code {process.returncode}'}")


def _ranks(rank: int, size: int, port: int) -> Ranks:
    return Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=port)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
