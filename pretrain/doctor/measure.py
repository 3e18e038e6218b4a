"""What ranks measure together: matrix products, all-reduce, clocks, and whether they share folders.

All ranks call `measure` at the same time; every one of them gets what all of them found.
"""

from __future__ import annotations

import os
import platform
import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain.doctor.folders import existing
from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch

GPU_BYTES, CPU_BYTES = 2**28, 2**24  # that are reduced at a time
WARM_UP, TIMES = 2, 5
CLOCK_ROUNDS = 20
GPU_SIZE, GPU_SECONDS = 8192, 0.4
SEEN_SECONDS = 10.0  # that a network file system may take to show a file


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one rank found."""

    host: str
    device: str  # its name, or cpu
    threads: int
    versions: Mapping[str, str]
    flops: Mapping[str, float]  # a second, by precision
    reduced_bytes: int
    seconds: float | None  # of an all-reduce of so many; None: one rank
    clock_offset: float  # seconds ahead of the first rank's clock
    clock_error: float  # of that, at most about
    shares: Mapping[str, bool]  # folder: a file that the first rank made there is here
    findings: Sequence[Mapping[str, Any]]  # of this machine, where this is its first rank

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(
    ranks: Ranks, folders: Sequence[Path] = (), findings: Sequence[Mapping[str, Any]] = ()
) -> list[Measured]:
    """Of all ranks, in their order. Collective."""
    import torch
    import torch.distributed as dist

    from pretrain.machine import use_cores
    from pretrain.ranks import device_of, join

    device = device_of(ranks)
    use_cores(ranks, device)
    store = join(ranks, device)
    flops = {"bf16": _flops(device, torch.bfloat16), "fp32": _flops(device, torch.float32)}
    offset, error = _clock(ranks, device)
    own = Measured(
        host=socket.gethostname(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), "torch": str(torch.__version__)},
        flops=flops,
        reduced_bytes=GPU_BYTES if device.type == "cuda" else CPU_BYTES,
        seconds=_all_reduce(ranks, device),
        clock_offset=offset,
        clock_error=error,
        shares={str(folder): _shared(folder, ranks) for folder in folders},
        findings=list(findings),
    )
    found: list[Any] = [None] * ranks.size
    if ranks.size > 1:
        dist.all_gather_object(found, own.to_json())
        dist.barrier()
    else:
        found = [own.to_json()]
    del store  # served by the first rank until all are done
    return [Measured(**one) for one in found]


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    """The best matrix product, on all ranks at the same time, as in a run."""
    import torch

    from pretrain.monitor.peak import measured_cpu_flops

    if device.type == "cpu":
        return measured_cpu_flops(dtype)
    a, b = (torch.ones(GPU_SIZE, GPU_SIZE, dtype=dtype, device=device) for _ in range(2))
    out, best, until = torch.mm(a, b), float("inf"), time.perf_counter() + GPU_SECONDS
    while time.perf_counter() < until:
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * GPU_SIZE**3 / best


def _all_reduce(ranks: Ranks, device: torch.device) -> float | None:
    """Seconds, the median of a few."""
    import torch
    import torch.distributed as dist

    if ranks.size == 1:
        return None
    elements = (GPU_BYTES if device.type == "cuda" else CPU_BYTES) // 4
    tensor = torch.zeros(elements, device=device)
    took = []
    for _ in range(WARM_UP + TIMES):
        _together(device)
        start = time.perf_counter()
        dist.all_reduce(tensor)
        _finish(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[WARM_UP:])


def _clock(ranks: Ranks, device: torch.device) -> tuple[float, float]:
    """How far this clock is ahead of the first rank's, and the spread of that: read behind barriers."""
    import torch.distributed as dist

    if ranks.size == 1:
        return 0.0, 0.0
    offsets = []
    for _ in range(CLOCK_ROUNDS):
        _together(device)
        now = time.time()
        clocks: list[Any] = [None] * ranks.size
        dist.all_gather_object(clocks, now)
        offsets.append(now - clocks[0])
    middle = statistics.median(offsets)
    return middle, statistics.median(abs(offset - middle) for offset in offsets)


def _shared(folder: Path, ranks: Ranks) -> bool:
    """Whether this rank sees a file that the first one makes in the folder, or where it would be made."""
    import torch.distributed as dist

    if ranks.size == 1:
        return True
    names: list[Any] = [f".doctor.shared.{os.getpid()}.{time.time_ns()}"]
    dist.broadcast_object_list(names)
    file = existing(folder) / names[0]
    if ranks.first:
        with suppress(OSError):  # the folder's own line says that it cannot be written
            file.touch()
    dist.barrier()
    until = time.monotonic() + SEEN_SECONDS
    while not (seen := file.exists()) and time.monotonic() < until:
        time.sleep(0.2)
    dist.barrier()
    if ranks.first:
        file.unlink(missing_ok=True)
    return seen


def _together(device: torch.device) -> None:
    import torch.distributed as dist

    dist.barrier()
    _finish(device)


def _finish(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
