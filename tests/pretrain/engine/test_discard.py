"""A discarded update leaves no trace, in every engine; a gradient that is no number is seen by every rank."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT, HERE = Path(__file__).parents[3], Path(__file__).parent
pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]


def run_ranks(num_ranks: int, *arguments: str) -> None:
    """All ranks of the worker end well."""
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
            [sys.executable, str(HERE / "discard_worker.py"), *arguments],
            env=base | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    try:
        outputs = [process.communicate(timeout=360)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * num_ranks, "\n".join(outputs)[-6000:]
    assert "OVERFLOW" not in "".join(outputs)  # which DeepSpeed says of gradients that are not finite


@pytest.mark.parametrize(
    ("num_ranks", "model", "precision", "engines"),
    [
        (1, "dense", "fp32", ["torch"]),
        (2, "dense", "bf16", ["torch", "1", "2"]),
        pytest.param(2, "moe", "fp32", ["torch", "0", "1", "2", "3"], marks=pytest.mark.slow),
        pytest.param(1, "dense", "bf16", ["1", "2", "3"], marks=pytest.mark.slow),
        pytest.param(1, "dense", "fp32", ["1-offload", "2-offload", "3-offload"], marks=pytest.mark.slow),
        pytest.param(2, "dense", "bf16", ["3", "1-offload", "2-offload"], marks=pytest.mark.slow),
    ],
)
def test_a_discarded_update_leaves_no_trace(
    num_ranks: int, model: str, precision: str, engines: list[str]
) -> None:
    run_ranks(num_ranks, model, precision, *engines)
