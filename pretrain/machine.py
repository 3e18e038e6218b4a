"""What this machine offers to one rank: cores and memory."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch


# glibc's mallopt: free memory kept at the heap's top, and the size from which a block has its own pages
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT_AT_TOP = 2**30
# Activations are smaller; what holds a gradient of every parameter is larger, and would leave holes behind.
OWN_PAGES = 2**26
OWN_PAGES_BEFORE_GLIBC_2_35 = 2**25  # the most that it takes


def use_cores(ranks: Ranks, device: torch.device) -> None:
    """Share the cores among the ranks of this machine: with more threads than cores everything crawls."""
    import torch

    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks.local_size))
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let malloc reuse blocks of a forward pass: a fresh one costs a page fault for every 4 KiB of it."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt:
        mallopt(MMAP_THRESHOLD, OWN_PAGES) or mallopt(MMAP_THRESHOLD, OWN_PAGES_BEFORE_GLIBC_2_35)
        mallopt(TRIM_THRESHOLD, KEPT_AT_TOP)


def same_bits() -> None:
    """Have torch and its compiler compute the same bits in every run on the same GPU; before it computes any.

    Operations that cannot are refused by torch with their name.
    """
    import torch
    from torch._inductor import config as compiler
    from torch.utils import deterministic

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is made
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads those
    if hasattr(compiler, "deterministic"):  # torch 2.10: kernels are not chosen by a race
        compiler.deterministic = True


def available_bytes(ranks: Ranks, device: torch.device) -> int:
    """Free memory for one rank: of its GPU, or its share of this machine's, container limits included."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min(psutil.virtual_memory().available, _left_in_container()) // ranks.local_size


def _left_in_container(group: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group still allows, its idle file cache included; no limit is a very large number."""
    try:
        limit = int((group / "memory.max").read_text())  # "max" is no number: no limit
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 2**63
    return max(0, limit - used + int(statistics.get("inactive_file", 0)))
