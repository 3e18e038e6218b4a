"""The queue: what can start is started, what ended is recorded, until nothing is left or somebody says so."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pretrain.monitor.status import read_status
from pretrain.sweep.children import Children, Gone
from pretrain.sweep.order import in_order
from pretrain.sweep.outcome import Outcome, Outcomes, is_saved, outcome_of
from pretrain.sweep.plan import Plan
from pretrain.sweep.planned import Planned
from pretrain.sweep.results import write_results

POLL_SECONDS = 0.5
FRUITLESS = 3  # starts of a run in a row that end without an update more
STOP_SECONDS = 60.0  # that runs have to save when the sweep is stopped
USER_MISTAKE, START_AGAIN = 2, 75  # exit codes of a run


class Queue:
    """One process's part of a sweep, on this machine."""

    def __init__(
        self, plan: Plan, outcomes: Outcomes, children: Children, show: Callable[[Queue], None]
    ) -> None:
        self.plan = plan
        self.outcomes = outcomes
        self.children = children
        self.show = show
        self.folder = plan.sweep.folder
        self.made: set[str] = set()  # trunks whose last checkpoint is there
        self.fruitless: dict[str, tuple[int, int]] = {}  # starts since the step that was reached
        self.stopping: float | None = None
        self.flops_done = 0
        self.began = time.monotonic()

    def stop(self) -> None:
        """Let every run save and end; what is left can be gone on with."""
        if self.stopping is None:
            self.stopping = time.monotonic()
            self.children.signal_all(signal.SIGTERM)

    def run(self) -> None:
        """Until nothing is left to do."""
        self._settle()
        while True:
            if self.stopping is None:
                self._start()
            elif time.monotonic() - self.stopping > STOP_SECONDS:
                return
            self.show(self)
            if not self.children.running:
                return
            for gone in self.children.news(POLL_SECONDS):
                self._ended(gone)

    def left(self) -> dict[str, Planned]:
        """The runs that are still to be made, those under way included."""
        own, children = self.plan.own(), self.plan.children()
        needed: dict[str, Planned] = {}
        for run in reversed(list(own.values())):  # children before parents
            outcome = self.outcomes.get(run.name)
            if outcome is not None and outcome.status != "finished":
                continue
            below = any(child in needed for child in children[run.name])
            if (run.budget is not None and outcome is None) or (below and not self._is_made(run)):
                needed[run.name] = run
        return needed

    def _start(self) -> None:
        if not self.children.has_room:
            return
        left, running = self.left(), set(self.children.running)
        for name in in_order(left, self.plan.children(), self.children.jobs):
            if not self.children.has_room:
                return
            run = left[name]
            if name not in running and (run.parent is None or run.parent not in left):
                self._begin(run)

    def _begin(self, run: Planned) -> None:
        arguments = ["--config", self.plan.sweep.base, *run.overrides]
        log = self.folder / "logs" / f"{run.name}.log"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"launch/pretrain.py {' '.join(map(repr, arguments))}\n")
        self.children.start(run.name, arguments, log)

    def _ended(self, gone: Gone) -> None:
        run, folder = self.plan.runs[gone.name], self.folder / "runs" / gone.name
        found = None if gone.code in (USER_MISTAKE, START_AGAIN) else outcome_of(run, folder)
        if found is None and (gone.code in (USER_MISTAKE, 1)):
            found = Outcome(status="failed", reason=self._last_words(run))
        if found is None and self.stopping is None:
            found = self._fruitless(gone, folder)
        if found is not None:
            self._record(run, found)
            self.flops_done += run.flops
            self._settle()

    def _fruitless(self, gone: Gone, folder: Path) -> Outcome | None:
        """A run that was killed goes on from its checkpoint, unless that leads nowhere."""
        status = read_status(folder)
        step = status.step if status else 0
        starts, before = self.fruitless.get(gone.name, (0, -1))
        starts = 1 if step > before else starts + 1
        self.fruitless[gone.name] = (starts, step)
        if starts < FRUITLESS:
            return None
        how = f"signal {-gone.code}" if gone.code < 0 else f"exit code {gone.code}"
        return Outcome(status="failed", reason=f"ended by {how}, {starts} times at step {step}")

    def _record(self, run: Planned, outcome: Outcome) -> None:
        if run.is_trunk and outcome.status == "finished":
            self.made.add(run.name)
        if run.budget is not None or outcome.status != "finished":
            self.outcomes.put(run.name, outcome)

    def _settle(self) -> None:
        """Take in what is known without a start, pass on what became of trunks, see what that calls for."""
        self.outcomes.look()
        while True:
            for run in list(self.plan.own().values()):
                parent = self.outcomes.get(run.parent) if run.parent else None
                if self.outcomes.get(run.name) is not None or run.name in self.children.running:
                    continue
                if parent is not None and parent.status != "finished":
                    self.outcomes.put(run.name, _inherited(parent))
                elif run.budget is not None:
                    found = outcome_of(run, self.folder / "runs" / run.name)
                    if found is not None and found.status != "failed":
                        self.outcomes.put(run.name, found)
            if not self.plan.grow(self.outcomes):
                break
        self._tidy()
        write_results(self.plan, self.outcomes, self.folder)

    def _is_made(self, run: Planned) -> bool:
        """Whether a trunk stands where its children begin."""
        if run.name not in self.made and is_saved(run, self.folder / "runs" / run.name):
            self.made.add(run.name)
        return run.name in self.made

    def _tidy(self) -> None:
        """Checkpoints go that nobody begins from again: those of branches, and of trunks behind the last."""
        children, left = self.plan.children(), self.left()
        for run in self.plan.own().values():
            below = children[run.name]
            goes_on = any(self.plan.runs[child].is_trunk for child in below)
            over = not run.is_trunk and self.outcomes.get(run.name) is not None
            passed = goes_on and not self.plan.options.extend and not any(child in left for child in below)
            if over or (passed and run.name in self.made):
                shutil.rmtree(self.folder / "runs" / run.name / "checkpoints", ignore_errors=True)

    def _last_words(self, run: Planned) -> str:
        lines = (self.folder / "logs" / f"{run.name}.log").read_text(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _inherited(parent: Outcome) -> Outcome:
    return Outcome(
        status=parent.status,
        reason=parent.reason
        if (parent.reason or "").startswith("its trunk: ")
        else f"its trunk: {parent.reason}",
    )
