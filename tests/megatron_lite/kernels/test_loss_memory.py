"""Forward and backward of the loss stay within their memory at the size of a 3B model's head.

The figure is resident memory, which Linux counts by pages as they are written, in a process that does nothing
else: it repeats to within a few MiB, where the bound has tens to spare and the logits of the batch are 768.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_lite.kernels.choice import multiplies_bf16

ROOT = Path(__file__).parents[3]
LIMIT = 256 * 2**20  # beyond the hidden states, their gradient and that of the head
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}  # or holes count, too


def beyond(way: str, dtype: str, hidden: int) -> int:
    """Bytes at the peak, of 4096 tokens and a vocabulary of 49152."""
    script = str(ROOT / "benchmarks" / "loss_memory.py")
    options = ["--only", way, "--dtype", dtype, "--hidden", str(hidden), "--threads", "1"]
    command, surroundings = [sys.executable, script, *options], os.environ | RETURNED
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=surroundings)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["beyond_bytes"]


def test_chunks_stay_within_the_limit() -> None:
    assert 0 < beyond("chunked", "fp32", hidden=64) <= LIMIT


def test_the_measurement_sees_logits() -> None:
    """All logits at once are found out: they, their softmax and their gradient."""
    assert beyond("materialised", "fp32", hidden=64) > 2 * 4 * 4096 * 49152


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_size_of_a_3b_model(dtype: str) -> None:
    if dtype == "bf16" and not multiplies_bf16():
        pytest.skip("without instructions for bf16 every product holds fp32 copies of its matrices")
    assert beyond("chunked", dtype, hidden=1536) <= LIMIT
