"""A process that has loaded everything a run needs, and forks one run after the other.

To load torch and the rest takes many times what a small run does; a fork has them at once. Nothing here may
start a thread or touch a GPU before the fork: neither survives it.

Started as `python -m pretrain.sweep.nursery JOBS PIPE PARENT`; orders come on standard input, news go to
PIPE, a line of JSON each. When its input ends, or it or PARENT is killed, its runs are killed with it.

    {"name": ..., "arguments": [...], "log": ..., "slot": 0}
    {"name": ..., "pid": ...}   {"name": ..., "code": 0}   (minus the signal that ended it)
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

LOADED = (
    "torch",
    "safetensors.torch",
    "pydantic",
    "rich.table",
    "pretrain.main",
    "pretrain.loop.job",
    "pretrain.memory",
    "pretrain.machine",
    "pretrain.engine.torch_engine",
    "pretrain.monitor.console",
    "torch._dynamo",  # which attention over documents of unequal length brings in
    "torch.nn.attention.varlen",
)
SET_PDEATHSIG = 1
POLL_SECONDS = 0.05


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before the kernel knew
        os._exit(1)


def serve(jobs: int, news: int) -> None:
    """Fork as ordered until standard input ends."""
    running: dict[int, str] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        if ready:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                order = json.loads(line)
                running[_fork(order, jobs, news)] = order["name"]
        _reap(running, news)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _reap(running: dict[int, str], news: int) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(news, name=running.pop(pid), code=os.waitstatus_to_exitcode(status))


def _fork(order: dict[str, Any], jobs: int, news: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(parent)
        os.close(news)
        _run(order, jobs)
    _tell(news, name=order["name"], pid=pid)
    return pid


def _run(order: dict[str, Any], jobs: int) -> NoReturn:
    """The run, in the child; what it says goes to its log."""
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        code = _main(order["arguments"], order["slot"], jobs)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main(arguments: list[str], slot: int, jobs: int) -> int:
    import torch

    from pretrain.main import main
    from pretrain.ranks import Ranks

    num_gpus = torch.cuda.device_count()
    ranks = Ranks(
        rank=0,
        size=1,
        local_rank=slot % num_gpus if num_gpus else 0,
        local_size=jobs,  # who share this machine's cores and memory
        address="127.0.0.1",
        port=0,
    )
    return main(arguments, ranks)


def _tell(news: int, **facts: Any) -> None:
    os.write(news, json.dumps(facts).encode() + b"\n")


def main() -> None:
    """Load, say so, serve."""
    jobs, news, parent = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    # each run has one core; libraries read these when they load
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name in LOADED:
        importlib.import_module(name)
    num_threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    if num_threads > 1:
        print(f"{num_threads} threads before the first fork", file=sys.stderr)
    _tell(news, ready=True, threads=num_threads)
    serve(jobs, news)


if __name__ == "__main__":
    main()
