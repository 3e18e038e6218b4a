"""The sweep while it goes on: how many runs are done, the best of each cell, the time that is left."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from megatron_lite.options import format_count
from pretrain.monitor.words import duration
from pretrain.sweep.planned import Planned

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from pretrain.sweep.queue import Queue

LINE_SECONDS = 10.0  # between lines where there is no terminal
SILENT_SECONDS = 300.0  # after which it says so where nothing has ended


class View:
    """Shows a queue on standard error."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._said = 0.0
        self._done = -1
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live as RichLive

            self._live = RichLive(console=Console(stderr=True), auto_refresh=False)
            self._live.start()

    def __call__(self, queue: Queue) -> None:
        """What there is to see now."""
        if self._live:
            from rich.console import Group
            from rich.text import Text

            self._live.update(Group(Text(progress(queue)), best_table(queue)), refresh=True)
            return
        done, silent = _num_done(queue), time.monotonic() - self._said
        if silent > (LINE_SECONDS if done != self._done else SILENT_SECONDS):
            self._said, self._done = time.monotonic(), done
            print(progress(queue), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()


def progress(queue: Queue) -> str:
    """One line."""
    points = [run for run in queue.plan.own().values() if run.budget is not None]
    ended = [outcome for run in points if (outcome := queue.outcomes.get(run.name))]
    by_status = {status: sum(o.status == status for o in ended) for status in ("diverged", "failed")}
    bad = "".join(f", {count} {status}" for status, count in by_status.items() if count)
    running = len(queue.children.running)
    return f"{len(ended)} of {len(points)} points done{bad}; {running} runs under way{_time_left(queue)}"


def _num_done(queue: Queue) -> int:
    return sum(queue.outcomes.get(run.name) is not None for run in queue.plan.own().values())


def _time_left(queue: Queue) -> str:
    passed = time.monotonic() - queue.began
    if not queue.flops_done:
        return ""
    left = sum(run.flops for run in queue.left().values())
    return f"; about {duration(passed * left / queue.flops_done)} left"


def best(queue: Queue) -> dict[tuple[int, int], tuple[float, Planned, int]]:
    """By budget and batch: the lowest loss, its run, and how many have ended."""
    found: dict[tuple[int, int], tuple[float, Planned, int]] = {}
    for run in queue.plan.points():
        outcome = queue.outcomes.get(run.name)
        if outcome is None or outcome.loss is None or run.budget is None:
            continue
        key = (run.budget, run.batch_tokens)
        loss, holder, count = found.get(key, (outcome.loss, run, 0))
        better = outcome.loss < loss
        found[key] = (min(outcome.loss, loss), run if better else holder, count + 1)
    return dict(sorted(found.items()))


def best_table(queue: Queue) -> Table:
    """The best run of each budget and batch."""
    from rich import box, table

    shown = table.Table(box=box.SIMPLE_HEAD)
    for column in ("budget", "batch tokens", "best lr", "loss", "runs", "setting"):
        shown.add_column(column, justify="left" if column == "setting" else "right")
    for (budget, batch), (loss, run, count) in best(queue).items():
        shown.add_row(
            format_count(budget), str(batch), f"{run.lr:.4g}", f"{loss:.4f}", str(count), run.setting.label
        )
    return shown
