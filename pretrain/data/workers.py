"""Work spread over processes that end with the one that started them, whatever ends it.

Processes and not threads: both the reading of text and what is done around a tokenizer hold Python's lock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, connection, get_context, parent_process
from threading import Thread
from typing import Any

from pretrain.errors import UserError

SECONDS_BETWEEN_LOOKS = 1.0
POOL_BYTES = 6_000_000  # less work than this is done before a second process has started


def do_all(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    num_workers: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Call `work` with each tuple of arguments; `look` is called now and then, here or by `work`."""
    if num_workers == 1 or len(tasks) < 2:
        for arguments in tasks:
            work(*arguments, look=look)
        return
    # "spawn": a fork would copy the locks of threads that torch and others have running here
    others = set(active_children())
    with ProcessPoolExecutor(
        min(num_workers, len(tasks)), mp_context=get_context("spawn"), initializer=_follow_parent
    ) as pool:
        try:
            _finish([pool.submit(work, *arguments) for arguments in tasks], look)
        except BaseException:  # nobody waits for what is half done
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - others:
                worker.kill()
            raise


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _finish(waiting: Sequence[Future[Any]], look: Callable[[], None]) -> None:
    left = set(waiting)
    while left:
        done, left = wait(left, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker of this build was killed, perhaps because memory ran out. What is finished is"
                    " kept: start it again to go on, with fewer workers if it was memory."
                ) from error
        look()


def _follow_parent() -> None:
    """In a worker: leave interrupts to the parent, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
