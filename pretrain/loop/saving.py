"""Checkpoints inside the loop: copied out, written behind the training, told of when they are on disk."""

from __future__ import annotations

import time

from pretrain.guard.replicas import check_replicas
from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop.journal import Journal
from pretrain.loop.run import Run
from pretrain.ranks import any_rank

WRITE_SECONDS = 1800.0  # more than usual, to wait for a write: gigabytes on a slow file system


class NotSaved(Exception):
    """The last state of a run, or of a stop, could not be saved."""


def save(
    run: Run, journal: Journal, stop_watch: StopWatch, watchdog: Watchdog, *, regular: bool, owed: bool
) -> None:
    """Begin to save the state of now; replicas are compared first, where that is asked for. Collective."""
    step = run.position.step
    if run.config.guard.check_replicas_every:
        watchdog.at("compare replicas", step)
        check_replicas(run.engine.replicated(), step)
    watchdog.at("save", step, extra_seconds=WRITE_SECONDS)
    began = time.perf_counter()
    with journal.pause("saving"):
        journal.saving()
        run.save(regular=regular, owed=owed)
    stop_watch.took("save", time.perf_counter() - began)


def tell(run: Run, journal: Journal, stop_watch: StopWatch) -> None:
    """Tell of the saves that ended since; never waits."""
    for saved in run.saver.finished():
        stop_watch.took("save", saved.seconds)
        if saved.error:
            journal.unsaved(saved)
        else:
            journal.saved(saved)


def settle(run: Run, journal: Journal, stop_watch: StopWatch, watchdog: Watchdog) -> str | None:
    """Wait for what is under way and tell of it; why the last save failed, if it did. Collective."""
    watchdog.at("save", run.position.step, extra_seconds=WRITE_SECONDS)
    with journal.pause("saving"):
        last = run.saver.wait()
    tell(run, journal, stop_watch)
    return last.error if last else None


def check_saved(run: Run, journal: Journal, error: str | None) -> None:
    """Raises NotSaved where the save of now failed, and does again without the store. Collective.

    Ranks agree on a save through the launcher's store, which may be gone with it: the second try gathers the
    state on the first rank instead.
    """
    if not any_rank(error is not None, run.device):
        return
    saved = run.save_gathered()
    if saved.error is None:
        if run.ranks.first:
            journal.saved(saved)
        return
    raise NotSaved(
        f"The state after step {run.position.step} could not be saved: {saved.error} Make room; the same "
        "command goes on from the newest checkpoint."
    )
