"""Ranks of a run as forks of one process that has loaded everything: a start costs a second, not ten.

They are processes like any others, with a process group of their own over gloo; whoever starts them is their
launcher: when one rank dies, it ends the others.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 1.0  # that a rank may outlive another that was killed
LIMIT_SECONDS = 240.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the ranks of one start ended, in their order; minus the signal that ended one."""

    codes: tuple[int, ...]
    seconds: float


def preload() -> None:
    """Load what a run needs; nothing here may start a thread that a fork would lack."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", DS_ACCELERATOR="cpu", LOCAL_RANK="0")
    import deepspeed  # noqa: F401
    import torch

    import pretrain.loop.job
    import pretrain.main  # noqa: F401

    torch.set_num_threads(1)


def run_ranks(
    arguments: Sequence[str], size: int, log: Path, arm: Callable[[int], None] | None = None
) -> Ended:
    """Start `size` ranks of a run and wait for them; `arm(rank)` is called in each before it begins."""
    from pretrain.ranks import Ranks

    began, port = time.monotonic(), free_port()
    children: dict[int, int] = {}
    for rank in range(size):
        place = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=port)
        children[_fork(arguments, place, log, arm)] = rank
    codes = _wait(dict(children), began + LIMIT_SECONDS)
    return Ended(codes=tuple(codes[rank] for rank in range(size)), seconds=time.monotonic() - began)


def _fork(arguments: Sequence[str], place: object, log: Path, arm: Callable[[int], None] | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from pretrain.main import main

        if arm:
            arm(place.rank)  # type: ignore[attr-defined]
        code = main(list(arguments), place)  # type: ignore[arg-type]
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(children: dict[int, int], limit: float) -> dict[int, int]:
    codes: dict[int, int] = {}
    until = limit
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            rank = children.pop(pid)
            codes[rank] = os.waitstatus_to_exitcode(status)
            if codes[rank] != 0:
                until = min(until, time.monotonic() + GRACE_SECONDS)
        elif time.monotonic() > until:
            for left in children:
                os.kill(left, signal.SIGKILL)
        else:
            time.sleep(0.005)
    return codes


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
