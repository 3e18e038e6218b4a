"""The peak memory of this process, counted from a moment of our choosing.

Linux keeps a high-water mark of resident memory that can be set back. The figure that `getrusage` gives
cannot be, and starts from the size of the process that this one was started by.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

from pretrain.machine import MMAP_THRESHOLD, TRIM_THRESHOLD

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def keep_freed_memory() -> None:
    """Have malloc reuse blocks of any size, so that nobody's logits cost a page fault for every 4 KiB."""
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_THRESHOLD, 2**30)
    libc.mallopt(TRIM_THRESHOLD, 2**30)


class Memory:
    """Bytes held on a device by this process: resident on a CPU, allocated by torch on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"

    def now(self) -> int:
        """What is held after garbage is collected."""
        gc.collect()
        return torch.cuda.memory_allocated(self.device) if self.on_gpu else _resident("VmRSS")

    def reset_peak(self) -> None:
        """Let the peak count from here."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            RESET.write_text("5")

    def release(self) -> None:
        """Give freed memory back to the system, so that many processes can wait beside each other."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
        else:
            ctypes.CDLL(None).malloc_trim(0)

    def peak(self) -> int:
        """The most that was held since."""
        return torch.cuda.max_memory_allocated(self.device) if self.on_gpu else _resident("VmHWM")


def _resident(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
