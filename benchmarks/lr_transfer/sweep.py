"""Make the missing trials, several at a time, until no curve needs more or the time is up."""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from benchmarks.lr_transfer.grid import Curve, missing
from benchmarks.lr_transfer.results import append, outcomes
from benchmarks.lr_transfer.train import Outcome, train
from benchmarks.lr_transfer.trial import Trial


def sweep(
    every: list[Curve], results: Path, data: Path, *, device: str, jobs: int, max_seconds: float
) -> bool:
    """Whether every curve is complete. What the file holds is not made again; a failed trial is told."""
    end = time.monotonic() + max_seconds
    known, failed = outcomes(results), set[str]()
    running: dict[Future[Outcome], Trial] = {}

    def todo() -> list[Trial]:
        busy = failed | {trial.key for trial in running.values()}
        return [trial for trial in missing(every, known) if trial.key not in busy]

    # spawned, since CUDA does not survive a fork; kept, since it takes seconds to start
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while True:
            if time.monotonic() < end:
                for trial in todo()[: jobs - len(running)]:
                    running[pool.submit(train, trial, data, device)] = trial
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                trial = running.pop(future)
                _record(future, trial, results, known, failed)
                _say(trial, known.get(trial.key), len(known), len(todo()))
    return not missing(every, known)


def _record(
    future: Future[Outcome], trial: Trial, results: Path, known: dict[str, Outcome], failed: set[str]
) -> None:
    error = future.exception()
    if error is None:
        known[trial.key] = future.result()
        append(results, trial, known[trial.key])
    else:
        failed.add(trial.key)
        print(f"failed: {trial}: {error!r}", file=sys.stderr, flush=True)


def _say(trial: Trial, outcome: Outcome | None, num_known: int, num_missing: int) -> None:
    if outcome is None:
        return
    loss = "diverged" if outcome.diverged else f"loss {outcome.loss:.4f}"
    what = f"{trial.architecture} {trial.parametrisation} width {trial.width} lr 2^{trial.log2_lr}"
    told = f"{what} seed {trial.seed}: {loss}, {outcome.seconds:.0f} s"
    print(f"{told}; {num_known} made, {num_missing} to come", file=sys.stderr, flush=True)
