"""Tokens per second, the share of the machine's peak that they are, and peak memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WINDOW_UPDATES = 20


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a run trains."""

    tokens_per_second: float
    mfu: float | None  # None: the peak of this device is not known


class Meter:
    """The speed of an update and of late, from the tokens (over all ranks) and seconds of each update.

    What lies between updates (evaluation, checkpoints) is not training and not in it. MFU is FLOPs per second
    / (peak of a rank * ranks): useful work, recomputation not counted.
    """

    def __init__(self, *, peak_flops: float | None, num_ranks: int) -> None:
        self._peak_flops = peak_flops and peak_flops * num_ranks
        self._window: deque[tuple[int, int, float]] = deque(maxlen=WINDOW_UPDATES)

    def update(self, *, tokens: int, flops: int, seconds: float) -> Speed:
        """Count one update; the speed of late."""
        self._window.append((tokens, flops, seconds))
        tokens_in_all, flops_in_all, seconds_in_all = map(sum, zip(*self._window, strict=True))
        return self.speed(tokens=tokens_in_all, flops=flops_in_all, seconds=seconds_in_all)

    def speed(self, *, tokens: int, flops: int, seconds: float) -> Speed:
        """So much work in so much time, as a speed."""
        mfu = flops / seconds / self._peak_flops if self._peak_flops else None
        return Speed(tokens_per_second=tokens / seconds, mfu=mfu)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process has held: allocated on a GPU, resident on a CPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _peak_resident_bytes()


def _peak_resident_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    # Linux' ru_maxrss starts from the parent's, so it comes second
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
