"""A sweep, or a part of it, made on this machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from pretrain.config.schema import Config
from pretrain.sweep.children import Children
from pretrain.sweep.folder import begin, claim
from pretrain.sweep.outcome import Outcomes
from pretrain.sweep.plan import Plan
from pretrain.sweep.queue import Queue
from pretrain.sweep.view import View, best_table, progress

STOPPED = 130  # the exit code of a sweep that was told to stop


def work(plan: Plan, *, jobs: int, retry: bool) -> int:
    """Make all runs of the plan's part; the exit code. `retry`: those that failed before are tried again."""
    _on_signals(lambda: sys.exit(STOPPED))  # nothing runs yet
    folder = plan.sweep.folder
    lock = claim(folder, plan.part)
    begin(folder, plan)
    outcomes = Outcomes(folder)
    outcomes.look()
    if retry:
        for name in [name for name, known in outcomes.known.items() if known.status == "failed"]:
            outcomes.forget(name)
    _prepare(plan)
    logs = folder / "logs" / f"nursery-{plan.part[0]}-of-{plan.part[1]}.log"
    children, view = Children(jobs, logs, keep_open=[lock]), View()
    queue = Queue(plan, outcomes, children, view)
    _on_signals(queue.stop)
    try:
        queue.run()
    finally:
        view.close()
        children.close()
        os.close(lock)
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(best_table(queue))
    console.print(progress(queue), soft_wrap=True)
    return STOPPED if queue.stopping is not None else 0


def _on_signals(do: Callable[[], object]) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        do()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, stop)


def _prepare(plan: Plan) -> None:
    """Tokenizer and shards of all runs, once: jobs do not wait for each other to build them."""
    from pretrain.data.prepare import prepare
    from pretrain.monitor.console import Console

    console, seen = Console(), []
    configs: list[Config] = [plan.planner.config(setting) for setting in plan.settings]
    for config in configs:
        if config.data not in seen:
            seen.append(config.data)
            prepare(config.data, say=console.say, progress=console)
