"""The most FLOP/s that a device can do in matrix products: what MFU is measured against."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Dense bf16, from NVIDIA's data sheets (their headline numbers are with sparsity: twice these).
# The first pattern found in the device's name holds.
BF16_PEAKS = (
    (r"\bMIG\b", None),  # a slice of a GPU: its share of the peak is not in its name
    (r"\bB200\b", 2250e12),
    (r"\bH[12]00 NVL\b", 835e12),
    (r"\bG?H200\b", 989e12),
    (r"\bH100\b.*\bPCIe\b", 756e12),
    (r"\bH100\b", 989e12),
    (r"\bA100\b", 312e12),
)
SIZES = (1024, 1536, 2048)
SECONDS = 0.6  # for all matrix products together


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """The peak of one device: from its name on a GPU (bf16 only), measured on a CPU; None: not known."""
    import torch

    if device.type == "cpu":
        return measured_cpu_flops(dtype)
    return gpu_flops(torch.cuda.get_device_name(device)) if dtype is torch.bfloat16 else None


def gpu_flops(name: str) -> float | None:
    """Dense bf16 peak of the GPU that calls itself `name`."""
    return next((peak for pattern, peak in BF16_PEAKS if re.search(pattern, name)), None)


def measured_cpu_flops(dtype: torch.dtype) -> float:
    """The best of a few matrix products with the threads that this process has now."""
    import torch

    best = 0.0
    begin = time.perf_counter()
    for number, size in enumerate(SIZES, start=1):
        until = begin + SECONDS * number / len(SIZES)
        operations = 2 * size**3
        a, b, out = (torch.ones(size, size, dtype=dtype) for _ in range(3))
        torch.mm(a[:64], b, out=out[:64])  # the first product sets up and is not counted
        while best == 0 or time.perf_counter() + operations / best < until:
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, operations / (time.perf_counter() - start))
    return best
