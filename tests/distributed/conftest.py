"""Start a worker script as several ranks that find each other, as a launcher would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
Start = Callable[..., None]


@pytest.fixture(scope="session")
def run_ranks() -> Start:
    """`run_ranks("worker.py", 2, "argument", ...)`: all ranks must end with exit code 0."""

    def run(script: str, num_ranks: int, *arguments: str | Path, timeout: float = 240) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        base = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(num_ranks),
        }
        processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / script), *map(str, arguments)],
                env=base | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(num_ranks)
        ]
        try:
            outputs = [process.communicate(timeout=timeout)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        codes = [process.returncode for process in processes]
        assert codes == [0] * num_ranks, "\n".join(outputs)[-6000:]

    return run
