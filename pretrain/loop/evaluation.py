"""The evaluation inside the loop: given up where the run is to stop, and then owed by the next start."""

from __future__ import annotations

from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop.journal import Journal
from pretrain.loop.run import Run
from pretrain.loop.samples import samples_now
from pretrain.ranks import any_rank


def evaluate(run: Run, journal: Journal, stop_watch: StopWatch, watchdog: Watchdog) -> bool:
    """Evaluate, and record what is not yet recorded; whether it was done, not given up in order to stop."""
    step = run.position.step

    def given_up() -> bool:
        watchdog.at("evaluate", step)
        return any_rank(stop_watch.reason() is not None, run.device)

    recorded = run.validated() if run.ranks.first else set()
    with journal.pause("evaluation"):
        scores = run.evaluate(given_up)
    if scores is None:
        return False
    journal.validation(run.position, {name: score for name, score in scores.items() if name not in recorded})
    if run.config.trackers.report and _samples_wanted(run):
        with journal.pause("evaluation"):
            journal.samples(run.position, samples_now(run))
    journal.shown()
    return True


def _samples_wanted(run: Run) -> bool:
    """As the config says; where it does not, if every rank has whole weights anyway."""
    asked, config = run.config.evaluate.samples, run.config
    sharded = config.run.engine == "deepspeed" and config.deepspeed.zero_optimization.stage == 3
    return not sharded if asked is None else asked


def is_due(run: Run) -> bool:
    """Whether the weights of now are to be evaluated."""
    every = run.config.evaluate.every_steps
    return run.finished or (every is not None and run.position.step % every == 0)


def is_owed(run: Run) -> bool:
    """Whether the evaluation of this step was given up, so that the record lacks it. Collective."""
    if run.position.step == run.derived.first_step or not is_due(run):
        return False
    lacking = run.ranks.first and not run.validated().issuperset(run.validation.sources)
    return any_rank(lacking, run.device)
