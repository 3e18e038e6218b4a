"""The operating system: shared memory, open files, threads, a compiler, wandb's key."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from pretrain.doctor.finding import Finding, note, ok, problem
from pretrain.monitor.words import size

SHARED_MEMORY = Path("/dev/shm")
LITTLE_SHARED, DOCKERS_SHARED = 2**30, 2**26  # bytes; Docker gives 64 MiB
FEW_FILES, TOO_FEW_FILES = 4096, 1024
FEW_CORES = 4  # a GPU: its process, the loader and the writer of checkpoints


def shared_memory(num_gpus: int) -> Iterator[Finding]:
    """/dev/shm, through which NCCL's ranks of one machine talk."""
    total = shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else None
    yield judge_shared_memory(total, num_gpus)


def judge_shared_memory(total_bytes: int | None, num_gpus: int) -> Finding:
    """`total_bytes`: None where there is no /dev/shm."""
    check, advice = (
        "shared memory",
        "docker run --ipc=host, or --shm-size=16g; Kubernetes: an emptyDir in memory",
    )
    if total_bytes is None:
        return note(check, "no /dev/shm", advice)
    text = f"{size(total_bytes)} in /dev/shm"
    if total_bytes >= LITTLE_SHARED:
        return ok(check, text)
    if num_gpus > 1:
        return problem(check, f"{text}, and NCCL needs more between {num_gpus} GPUs", advice)
    return note(check, text, advice)


def open_files() -> Iterator[Finding]:
    """The limit of this process."""
    import resource

    yield judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_open_files(soft: int, hard: int) -> Finding:
    """`soft`: the limit; `hard`: what it may be raised to; a negative number is none."""
    check, advice = "open files", "`ulimit -n 65536` before the start, or LimitNOFILE of the service"
    text = f"at most {soft}" if soft >= 0 else "no limit"
    if 0 <= soft < TOO_FEW_FILES:
        return problem(
            check, f"{text}; shards, sockets and checkpoints need more (hard limit {hard})", advice
        )
    if 0 <= soft < FEW_FILES:
        return note(check, f"{text}; a corpus of many shards needs more (hard limit {hard})", advice)
    return ok(check, text)


def threads(environ: Mapping[str, str], num_ranks: int, num_gpus: int) -> Iterator[Finding]:
    """Cores against ranks and threads."""
    yield from judge_threads(
        len(os.sched_getaffinity(0)), environ.get("OMP_NUM_THREADS"), num_ranks, num_gpus
    )


def judge_threads(cores: int, omp: str | None, num_ranks: int, num_gpus: int) -> Iterator[Finding]:
    """`omp`: OMP_NUM_THREADS; `num_ranks`: of this machine."""
    check = "threads"
    text = f"{cores} cores for {num_ranks} rank(s), OMP_NUM_THREADS {omp or 'not set'}"
    if omp is not None and not omp.isdecimal():
        yield problem(check, f"OMP_NUM_THREADS is '{omp}'", "set it to a whole number, or not at all")
    elif omp is not None and int(omp) * num_ranks > cores:
        yield note(
            check,
            f"{text}: {int(omp) * num_ranks} threads on {cores} cores",
            f"unset it, or OMP_NUM_THREADS={max(1, cores // num_ranks)}; more threads than cores crawl",
        )
    elif num_gpus and cores < FEW_CORES * num_gpus:
        yield note(
            check,
            f"{text}: {cores / num_gpus:.3g} cores a GPU",
            f"ask for {FEW_CORES} and more a GPU (--cpus-per-task, or the container's limit)",
        )
    else:
        yield ok(check, text)


def compiler(environ: Mapping[str, str], num_gpus: int) -> Iterator[Finding]:
    """What torch.compile calls: a C++ compiler on a CPU, a C compiler and Python's headers on a GPU."""
    names = (environ.get("CC"), "gcc", "cc", "clang") if num_gpus else (environ.get("CXX"), "g++", "clang++")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    header = Path(sysconfig.get_path("include")) / "Python.h"
    yield judge_compiler(found, header.is_file(), num_gpus)


def judge_compiler(found: str | None, has_header: bool, num_gpus: int) -> Finding:
    """`has_header`: Python.h, which Triton's launchers include."""
    check, without = "compiler", "or kernels.compile=none, which is slower"
    if found is None:
        what, package = ("C", "gcc") if num_gpus else ("C++", "g++")
        return note(
            check, f"no {what} compiler, which torch.compile needs", f"apt-get install {package}, {without}"
        )
    if num_gpus and not has_header:
        return note(check, f"{found}, and no Python.h for Triton", f"apt-get install python3-dev, {without}")
    return ok(check, found)


def wandb_key(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether `trackers.wandb: auto` sends anything."""
    from pretrain.monitor.wandb_tracker import has_key

    yield judge_wandb(has_key(environ))


def judge_wandb(has_key: bool) -> Finding:
    """`has_key`: wandb can log in without asking."""
    if has_key:
        return ok("wandb", "a key is there: trackers.wandb=auto sends numbers as they come")
    return ok("wandb", "no key: trackers.wandb=auto keeps numbers in files, for `wandb sync` later")
