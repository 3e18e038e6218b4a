"""What this machine offers to one rank: cores and free memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch


def use_cores(ranks: Ranks, device: torch.device) -> None:
    """Share the cores among the ranks of this machine: with more threads than cores everything crawls."""
    import torch

    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks.local_size))


def available_bytes(ranks: Ranks, device: torch.device) -> int:
    """Free memory for one rank: of its GPU, or its share of this machine's, container limits included."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min(psutil.virtual_memory().available, _left_in_container()) // ranks.local_size


def _left_in_container(group: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group still allows; no limit is a very large number."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**63
    return 2**63 if limit == "max" else max(0, int(limit) - used)
