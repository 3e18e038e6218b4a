"""The processes of a launched run: its ranks, what is left of it, and how all of it is ended."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
POLL_SECONDS = 0.2


def adopt_orphans() -> None:
    """Become the parent of descendants whose own is gone, so that they can be found. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """In a child that is about to run a command: be asked to stop when the parent is gone. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def below(pid: int) -> list[psutil.Process]:
    """Every living descendant."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in found if _lives(process)]


def ranks_below(pid: int) -> list[psutil.Process]:
    """Ranks that a launcher has started: the first processes on each way down that are told their RANK."""
    ranks: list[psutil.Process] = []
    to_look_at = [pid]
    while to_look_at:
        try:
            children = psutil.Process(to_look_at.pop()).children()
        except psutil.NoSuchProcess:
            continue
        told = [process for process in children if _is_rank(process)]
        ranks += told
        to_look_at += [process.pid for process in children if process not in told]
    return ranks


def end_all(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Wait for processes to end of themselves, then kill those that have not."""
    until = time.monotonic() + seconds
    left = list(processes)
    while left and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        left = [process for process in left if _lives(process)]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)
    reap()


def reap() -> None:
    """Take note of adopted children that have ended; none may be left that someone else waits for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_rank(process: psutil.Process) -> bool:
    try:
        return "RANK" in process.environ() and _lives(process)
    except psutil.Error:
        return False
