"""GPUs as the driver sees them, without loading torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pretrain.doctor.finding import Finding, note, ok, problem
from pretrain.doctor.limits import Failed, last_words, output_of
from pretrain.monitor.words import size
from pretrain.planning.gpus import GPUS

CHECK = "GPUs"
ASKED = ("name", "memory.total", "memory.used", "driver_version", "compute_cap")
SECONDS = 20
OLDEST = (8, 0)  # compute capability of bf16, flash attention and grouped products
BUSY_SHARE = 0.05  # of a GPU's memory that others may have
MEBIBYTE = 2**20
NONE_FOUND = "no devices were found"
NO_PART_OF_A_NAME = {"nvidia", "geforce"}  # which some drivers say and others do not


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """One GPU."""

    name: str
    memory_bytes: int
    used_bytes: int
    driver: str
    capability: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the driver answered, which is asked once."""

    gpus: tuple[GpuFacts, ...] | None = None  # None: there is no driver, or no good answer
    error: str | None = None


def ask() -> Driver:
    """The driver of this machine."""
    try:
        return Driver(gpus=local_gpus())
    except Failed as error:
        return Driver(error=str(error))


def gpus(driver: Driver) -> Iterator[Finding]:
    """Names, memory, driver and what is wrong with them."""
    if driver.error is None:
        yield from judge(driver.gpus)
        return
    yield problem(
        CHECK, f"nvidia-smi: {driver.error}", "the driver or a GPU does not answer: `dmesg` and a reboot"
    )


def local_gpus() -> tuple[GpuFacts, ...] | None:
    """Of this machine; None without a driver, Failed where it does not answer for each of them."""
    from shutil import which

    if which("nvidia-smi") is None:
        return None
    asked = f"--query-gpu={','.join(ASKED)}"
    try:
        told = output_of(["nvidia-smi", asked, "--format=csv,noheader,nounits"], seconds=SECONDS)
    except Failed as error:
        told = str(error)  # that there are none, some drivers call an error
        if not told.lower().startswith(NONE_FOUND):
            raise
    lines = [line for line in told.splitlines() if line.strip()]
    return tuple(parse(line) for line in lines if not line.lower().startswith(NONE_FOUND))


def parse(line: str) -> GpuFacts:
    """A line of nvidia-smi: name, MiB, MiB, driver, capability; Failed for one that says something else."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != len(ASKED):
        raise Failed(last_words(line))
    name, total, used, driver, capability = parts
    major, _, minor = capability.partition(".")
    return GpuFacts(
        name=name,
        memory_bytes=int(total) * MEBIBYTE if total.isdecimal() else 0,
        used_bytes=int(used) * MEBIBYTE if used.isdecimal() else 0,
        driver=driver,
        capability=(int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else OLDEST,
    )


def planned_as(found: Sequence[GpuFacts]) -> str | None:
    """The name under which a plan knows these GPUs; None where it does not, or they differ."""
    names = {_words(gpu.name) for gpu in found}
    known = {_words(gpu.title): gpu.name for gpu in GPUS.values()}
    return known.get(names.pop()) if len(names) == 1 else None


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall("[a-z0-9]+", name.lower())) - NO_PART_OF_A_NAME


def judge(found: Sequence[GpuFacts] | None) -> Iterator[Finding]:
    """`found`: None without a driver."""
    if not found:
        yield note(
            CHECK,
            "none" if found is None else "a driver, and no GPU: `dmesg` where there should be one",
            "on a CPU the tiny configs train in minutes, and all that is no training works; a container "
            "needs `docker run --gpus all` to see GPUs",
        )
        return
    first = found[0]
    yield ok(
        CHECK,
        f"{len(found)} x {first.name}, {size(first.memory_bytes)}, compute capability "
        f"{'.'.join(map(str, first.capability))}, driver {first.driver}",
    )
    yield from _different(found)
    for number, gpu in enumerate(found):
        if gpu.capability < OLDEST:
            yield problem(
                CHECK,
                f"GPU {number}, {gpu.name}: compute capability {'.'.join(map(str, gpu.capability))}",
                "bf16 and fast kernels need 8.0: run.precision=fp32, kernels.attention=by_document",
            )
        if gpu.used_bytes > BUSY_SHARE * gpu.memory_bytes:
            yield note(
                CHECK,
                f"GPU {number}: {size(gpu.used_bytes)} of {size(gpu.memory_bytes)} are in use",
                "another process computes there (`nvidia-smi`): it takes memory and time",
            )


def _different(found: Sequence[GpuFacts]) -> Iterator[Finding]:
    names = sorted({gpu.name for gpu in found})
    if len(names) > 1:
        yield problem(
            CHECK,
            f"different GPUs: {', '.join(names)}",
            "every rank waits for the slowest; choose equal ones with CUDA_VISIBLE_DEVICES",
        )
