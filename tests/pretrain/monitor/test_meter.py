from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pretrain.monitor import meter
from pretrain.monitor.meter import WINDOW_UPDATES, Meter, Speed, peak_memory_bytes
from pretrain.monitor.peak import gpu_flops, measured_cpu_flops, peak_flops

CPU = torch.device("cpu")


def test_speed_is_of_the_last_updates_or_of_one() -> None:
    counter = Meter(peak_flops=1000.0, num_ranks=2)
    assert counter.update(tokens=20, flops=2000, seconds=10.0) == Speed(tokens_per_second=2.0, mfu=0.1)
    for _ in range(WINDOW_UPDATES):
        last = counter.update(tokens=20, flops=2000, seconds=2.0)
    assert last == Speed(tokens_per_second=10.0, mfu=0.5)  # 2000 / 2 / (1000 * 2)
    assert counter.speed(tokens=20, flops=2000, seconds=10.0) == Speed(tokens_per_second=2.0, mfu=0.1)


def test_updates_of_another_cost_count_by_their_work() -> None:
    counter = Meter(peak_flops=1000.0, num_ranks=1)
    counter.update(tokens=10, flops=1000, seconds=1.0)
    assert counter.update(tokens=20, flops=5000, seconds=3.0) == Speed(tokens_per_second=7.5, mfu=1.5)


def test_without_a_peak_there_is_no_mfu() -> None:
    assert Meter(peak_flops=None, num_ranks=8).update(tokens=1, flops=1, seconds=1.0).mfu is None


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_peaks_of_gpus(name: str, tera: int | None) -> None:
    assert gpu_flops(name) == (tera and tera * 1e12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_of_a_cpu_is_measured_in_short(dtype: torch.dtype) -> None:
    start = time.perf_counter()
    peak = peak_flops(CPU, dtype)
    assert time.perf_counter() - start < 5  # about 0.6 s on an idle machine
    assert peak is not None
    assert 1e9 < peak < 1e14
    # another process may take the cores while the peak is measured, but hardly three times
    assert any(measured_cpu_flops(dtype) > 0.5 * small_product_flops(dtype) for _ in range(3))


def small_product_flops(dtype: torch.dtype) -> float:
    a = torch.ones(512, 512, dtype=dtype)
    start = time.perf_counter()
    for _ in range(3):
        a @ a
    return 3 * 2 * 512**3 / (time.perf_counter() - start)


@pytest.mark.gpu
def test_no_gpu_beats_its_peak() -> None:
    device = torch.device("cuda")
    peak = peak_flops(device, torch.bfloat16)
    if peak is None:
        pytest.skip(f"the peak of {torch.cuda.get_device_name()} is not in the table")
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for _ in range(3):
        a @ a
    start.record()
    for _ in range(10):
        a @ a
    end.record()
    torch.cuda.synchronize()
    reached = 10 * 2 * 8192**3 / (start.elapsed_time(end) / 1000)
    assert 0.4 < reached / peak < 1
    assert peak_memory_bytes(device) >= 2 * a.nbytes


MEMORY_SCENE = """
import numpy as np
from pretrain.monitor.meter import _peak_resident_bytes as peak
before = peak()
block = np.ones(200_000_000, dtype=np.uint8)
held = peak()
del block
print(before, held, peak())
"""


def test_peak_memory_stays_and_is_our_own() -> None:
    ours = torch.ones(100_000_000)  # a parent's memory, which Linux counts in a child's ru_maxrss
    done = subprocess.run([sys.executable, "-c", MEMORY_SCENE], capture_output=True, text=True, check=True)
    before, held, after = (int(word) for word in done.stdout.split())
    assert before < 200_000_000 < ours.nbytes
    assert held - before == pytest.approx(200_000_000, rel=0.05)
    assert after == pytest.approx(held, rel=0.01)


def test_peak_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = peak_memory_bytes(CPU)
    monkeypatch.setattr(meter, "Path", lambda _: Path("/nowhere"))
    assert 0.5 * exact < peak_memory_bytes(CPU) < 2 * exact + 10**9
