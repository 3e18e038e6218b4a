"""Benchmark tasks inside the loop: asked where they are due, and owed by the next start where given up."""

from __future__ import annotations

from pretrain.evaluate.harness.interval import are_due, are_lacking, ask_weights
from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop.journal import Journal
from pretrain.loop.run import Run
from pretrain.ranks import any_rank

ASK_SECONDS = 1800.0  # more than usual, while the first rank alone makes prompts or runs code


def ask(run: Run, journal: Journal, stop_watch: StopWatch, watchdog: Watchdog) -> bool:
    """Ask the weights of now; whether it was done, not given up in order to stop. Collective."""

    def given_up() -> bool:
        watchdog.at("tasks", run.position.step, extra_seconds=ASK_SECONDS)
        return any_rank(stop_watch.reason() is not None, run.device)

    if given_up():
        return False
    with journal.pause("tasks"):
        outcome = ask_weights(
            run.engine,
            run.corpus.tokenizer,
            run.tasks,
            name=run.config.run.name,
            position=run.position,
            run_folder=run.folder,
            precision=run.config.run.precision,
            batch_tokens=run.config.batch.micro_sequences * run.config.batch.sequence_length,
            ranks=run.ranks,
            device=run.device,
            given_up=given_up,
        )
    journal.tasks(run.position, outcome)
    journal.shown()
    return not outcome.given_up


def is_due(run: Run) -> bool:
    """Whether the weights of now are to be asked."""
    return are_due(run.config.evaluate, run.position.step, finished=run.finished)


def is_owed(run: Run) -> bool:
    """Whether an evaluation of this step was given up. Collective."""
    if run.position.step == run.derived.first_step or not is_due(run):
        return False
    lacking = run.tasks is not None and are_lacking(run.tasks, run.folder, run.position.step)
    return any_rank(lacking, run.device)
