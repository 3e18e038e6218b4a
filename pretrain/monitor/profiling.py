"""A look inside chosen updates: torch's profiler, and a record of memory. It never stops a run.

For every rank, in the folder `profile` of the run:

step_NNNNNNNN_rank_R.json        a trace for chrome://tracing or ui.perfetto.dev
step_NNNNNNNN_rank_R.txt         the operators that took most time, as a table
step_NNNNNNNN_rank_R.pickle      every allocation with its stack, for pytorch.org/memory_viz; on GPUs
step_NNNNNNNN_rank_R.memory.txt  on CPUs instead, whose allocations torch does not record: by operator
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain.monitor.options import TrackerOptions

if TYPE_CHECKING:
    import torch

FOLDER = "profile"
TOP_OPERATORS = 40
MOST_ALLOCATIONS = 1_000_000  # of a snapshot that are kept
Finish = Callable[[], None]


@dataclass(kw_only=True)
class Inspection:
    """Of one update; the time to write down what was seen is no part of it."""

    looking: bool = False
    seconds: float = 0.0  # to write it down


class Inspector:
    """Inspects the updates that the options name, on one rank."""

    def __init__(
        self,
        options: TrackerOptions,
        run_folder: Path,
        *,
        rank: int,
        device: torch.device,
        warn: Callable[[str], None],
    ) -> None:
        self.options = options
        self.folder = run_folder / FOLDER
        self.rank = rank
        self.device = device
        self.warn = warn

    @contextmanager
    def inspecting(self, step: int) -> Iterator[Inspection]:
        """Around an update."""
        ends = [end for end in map(self._begun, self._looks(step)) if end]
        inspection = Inspection(looking=bool(ends))
        try:
            yield inspection
        finally:
            began = time.perf_counter()
            for end in reversed(ends):
                self._guarded(end)
            inspection.seconds = time.perf_counter() - began

    def _looks(self, step: int) -> list[Callable[[], Finish]]:
        path = self.folder / f"step_{step:08d}_rank_{self.rank}"
        timed, memory = step in self.options.profile_steps, step in self.options.memory_snapshot_steps
        on_gpu = self.device.type == "cuda"
        looks: list[Callable[[], Finish]] = []
        if timed or (memory and not on_gpu):
            looks.append(lambda: _profile(path, self.device, timed=timed, memory=memory and not on_gpu))
        if memory and on_gpu:
            looks.append(lambda: _snapshot(path))
        return looks

    def _begun(self, look: Callable[[], Finish]) -> Finish | None:
        self._guarded(lambda: self.folder.mkdir(parents=True, exist_ok=True))
        return self._guarded(look)

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # whatever it is, the run goes on
            self.warn(f"Warning: rank {self.rank} could not profile: {type(error).__name__}: {error}")
            return None


def _profile(path: Path, device: torch.device, *, timed: bool, memory: bool) -> Finish:
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    profiler = profile(activities=activities, profile_memory=memory, acc_events=True)
    profiler.start()

    def end() -> None:
        profiler.stop()
        operators = profiler.key_averages()
        if timed:
            profiler.export_chrome_trace(str(path.with_suffix(".json")))
            order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
            path.with_suffix(".txt").write_text(operators.table(sort_by=order, row_limit=TOP_OPERATORS))
        if memory:
            table = operators.table(sort_by="self_cpu_memory_usage", row_limit=TOP_OPERATORS)
            path.with_suffix(".memory.txt").write_text(table)

    return end


def _snapshot(path: Path) -> Finish:
    import torch

    torch.cuda.memory._record_memory_history(max_entries=MOST_ALLOCATIONS)

    def end() -> None:
        try:
            torch.cuda.memory._dump_snapshot(str(path.with_suffix(".pickle")))
        finally:
            torch.cuda.memory._record_memory_history(enabled=None)

    return end
