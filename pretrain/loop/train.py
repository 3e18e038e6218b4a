"""The training loop.

until every update is made
    take the next global batch, and the learning rate at the tokens trained so far
    update, or leave the update out where its loss or gradient is far from usual
    record
    where that does not help, go back to the last checkpoint and on with other data
    evaluate, save and stop where it is time
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from megatron_lite.optim.second_moment import SecondMoment, second_moment
from pretrain.data.batch import Batch
from pretrain.guard.replicas import check_replicas
from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop import tasks
from pretrain.loop.check import check_update
from pretrain.loop.evaluation import evaluate, is_due, is_owed
from pretrain.loop.journal import Journal
from pretrain.loop.layers import Layers
from pretrain.loop.rewind import Diverged as Diverged
from pretrain.loop.rewind import check_rewinds, rewind, trouble
from pretrain.loop.run import Run
from pretrain.loop.saving import NotSaved as NotSaved
from pretrain.loop.saving import check_saved, save, settle, tell
from pretrain.loop.step import StepResult, train_step

FIRST_SECONDS = 1800.0  # more than usual, for the first update, which may compile, and for long traces


def train(run: Run, journal: Journal, stop_watch: StopWatch, watchdog: Watchdog) -> bool:
    """Train to the end, or until some rank asks to stop; whether the end was reached.

    The state is saved either way. Raises Diverged where the run can neither go on nor rewind, and NotSaved
    where its last state cannot be saved, with the last checkpoint as it was.
    """
    watch = (stop_watch, watchdog)
    save_due, extra_seconds = run.save_owed, FIRST_SECONDS
    stopping = is_owed(run) and not evaluate(run, journal, *watch)
    stopping = stopping or (tasks.is_owed(run) and not tasks.ask(run, journal, *watch))
    while not run.finished and not stopping:
        started = time.perf_counter()
        made, lr = run.next, run.derived.lr(run.position.tokens)
        with run.inspector.inspecting(made.step + 1) as inspection:
            watchdog.at("read", made.step + 1, extra_seconds=extra_seconds)
            batches = run.micro_batches()
            watchdog.at("update", made.step + 1, extra_seconds=extra_seconds)
            result = _update(run, batches, lr, stop=stop_watch.reason() is not None)
            if inspection.looking:
                watchdog.at("profile", made.step + 1, extra_seconds=FIRST_SECONDS)
        extra_seconds = 0.0
        if run.config.run.debug and not result.rejected:
            check_update(run, lr)
        run.advance(result)
        step, stopping = run.position.step, result.stop
        save_due = save_due or _due(step, run.config.checkpoint.every_steps)
        # behind a spike it is not known yet whether the weights are good: the save waits for the next update
        regular = (save_due and not result.rejected) or run.finished
        saving = regular or stopping
        wrong = trouble(run, result, saving=saving or is_due(run))
        seconds = time.perf_counter() - started - inspection.seconds
        stop_watch.took("update", seconds)
        if wrong:
            settle(run, journal, *watch)
            check_rewinds(run, wrong)
        journal.update(made, lr, result, seconds=seconds)
        if wrong:
            watchdog.at("rewind", step, extra_seconds=FIRST_SECONDS)
            with journal.pause("rewind"):
                back = rewind(run, made, wrong)
            journal.rewound(run, back)
            save_due = stopping = False
            continue
        if is_due(run):
            stopping = not evaluate(run, journal, *watch) or (stopping and not run.finished)
        if tasks.is_due(run):
            stopping = not tasks.ask(run, journal, *watch) or (stopping and not run.finished)
        if saving or stopping:
            save(run, journal, *watch, regular=regular, owed=save_due and not regular)
            save_due = False
        elif _due(step, run.config.guard.check_replicas_every):
            watchdog.at("compare replicas", step)
            check_replicas(run.engine.replicated(), step)
        tell(run, journal, stop_watch)
    check_saved(run, journal, settle(run, journal, *watch))
    if stopping:
        journal.stopped(run.position, stop_watch.reason() or "another rank asked to stop")
    return not stopping


def _update(run: Run, batches: Sequence[Batch], lr: float, *, stop: bool) -> StepResult:
    step, trackers = run.position.step + 1, run.config.trackers
    return train_step(
        run.engine,
        batches,
        lr=lr,
        second_moment=_second_moment(run),
        model=run.config.model,
        previous_counts=run.position.expert_counts,
        device=run.device,
        stop=stop,
        judge=run.judge,
        measure_noise=_due(step, trackers.noise_scale_every),
        layers=Layers(run.engine, run.shape, run.device) if _due(step, trackers.statistics_every) else None,
    )


def _second_moment(run: Run) -> SecondMoment | None:
    return second_moment(
        run.config.optimizer,
        step=run.position.updates + 1,
        tokens_before=run.position.tokens - run.position.skipped_tokens,
        batch_tokens=run.next.batch_tokens,
        moments_from=run.derived.past.moments_from,
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
