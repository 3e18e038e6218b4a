"""What the figures were taken on: the GPU, its software, and how fast it multiplies and copies here.

    python -m benchmarks.gpu.facts

Prints one JSON value.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch

from pretrain.monitor.peak import gpu_flops

SIZE = 8192  # of the matrices that are multiplied
COPIED_BYTES = 2**32
WARM_UP, ROUNDS, CALLS = 10, 10, 5
LIBRARIES = ("torch", "flash-attn", "deepspeed", "triton")


def facts() -> dict[str, object]:
    """By name, in the order in which they are shown."""
    device = torch.cuda.get_device_properties(0)
    return {
        "gpu": device.name,
        "memory_bytes": device.total_memory,
        "compute_capability": f"{device.major}.{device.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "data_sheet_flops": gpu_flops(device.name),
        "measured_flops": 2 * SIZE**3 / _seconds(_product()),
        "measured_copy_bytes_per_second": 2 * COPIED_BYTES / _seconds(_copy()),  # read and written
    }


def _product() -> Callable[[], object]:
    """A product of random matrices: zeros would draw less power, and so run at a higher clock."""
    left, right = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _copy() -> Callable[[], object]:
    source = torch.zeros(COPIED_BYTES, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _seconds(call: Callable[[], object]) -> float:
    """Of one call: the median of rounds, by the device's own clock."""
    for _ in range(WARM_UP):
        call()
    rounds = []
    for _ in range(ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(CALLS):
            call()
        end.record()
        end.synchronize()
        rounds.append(begin.elapsed_time(end) / 1000 / CALLS)
    return statistics.median(rounds)


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return (
            subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() or "not known"
        )
    except (OSError, subprocess.TimeoutExpired):
        return "not known"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    print(json.dumps(facts()))
