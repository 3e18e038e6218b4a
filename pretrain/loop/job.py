"""One process's work, in order: claim the folder, prepare the data, build, train, finish."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

from pretrain.checkpoint.branch import with_tokenizer
from pretrain.checkpoint.load import Checkpoint
from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.data.corpus import Corpus
from pretrain.data.prepare import prepare
from pretrain.evaluate.harness.interval import open_tasks
from pretrain.exchange.source import starting_point
from pretrain.guard.lock import RunLock
from pretrain.guard.signals import StopRequests
from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop.assemble import assemble
from pretrain.loop.folder import RunFolder, begin, claim, find_checkpoint, readable_origin
from pretrain.loop.in_sight import train_in_sight
from pretrain.loop.journal import Silent
from pretrain.loop.origin import open_origin
from pretrain.loop.run import Run
from pretrain.loop.train import FIRST_SECONDS, train
from pretrain.monitor.console import Console
from pretrain.monitor.status import read_status, write_status
from pretrain.monitor.summary import Summary, read_summary, show_summary
from pretrain.ranks import Ranks, agree_to_stop, all_do, first_does

if TYPE_CHECKING:
    import torch.distributed as dist

    from pretrain.evaluate.harness.tasks import Tasks


class Job:
    """A run as one process goes through it."""

    def __init__(
        self,
        config: Config,
        ranks: Ranks,
        device: torch.device,
        store: dist.Store,
        console: Console,
        requests: StopRequests,
    ) -> None:
        self.config = config = with_tokenizer(config, readable_origin(config))
        self.ranks = ranks
        self.device = device
        self.store = store
        self.console = console
        self.derived = derived_of(config)
        self.folder = config.run.folder
        self.requests = requests
        self.watchdog = Watchdog(config.guard, ranks, store, self.folder, requests)
        self.claimed: RunFolder | None = None  # the first rank's
        self.tasks: Tasks | None = None  # likewise
        self.started: Run | None = None

    def run(self) -> int:
        """Everything; the exit code."""
        first_does(self._claim, "claim", self.ranks, self.store, self.requests)
        first_does(self._open_tasks, "tasks", self.ranks, self.store, self.requests)
        first_does(self._prepare, "prepare", self.ranks, self.store, self.requests)
        origin, corpus = all_do(self._open, self.ranks)
        summary = self._summary()
        if summary:
            if self.ranks.first:
                write_status(self.folder, "finished", summary.steps)  # a kill may have come before it
                self.console.say(f"{self.config.run.name} is finished; another run.name starts another run.")
                show_summary(summary, sys.stdout)
            return 0
        agree_to_stop(self.requests, self.ranks)
        self.watchdog.at("build", 0, extra_seconds=FIRST_SECONDS)
        run = self._build(corpus, origin)
        agree_to_stop(self.requests, self.ranks)
        self.started = run
        run.tasks = self.tasks
        stop_watch = StopWatch(self.config.guard, self.folder, self.requests, first=self.ranks.first)
        if self.ranks.first:
            assert self.claimed is not None, "the folder is claimed before a run is built"
            train_in_sight(run, self.claimed, stop_watch, self.watchdog, self.console)
        else:
            train(run, Silent(), stop_watch, self.watchdog)
        self.watchdog.close()
        return 0

    def stopped(self, reason: str) -> None:
        """Leave word that the run was asked to stop before this start made an update."""
        if not self.ranks.first:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.claimed.lock if self.claimed else RunLock(self.folder)  # another job's stays as it is
        checkpoint = find_checkpoint(self.config)
        write_status(self.folder, "continue", checkpoint.position.step if checkpoint else 0, reason)
        assert lock is not None, "held until the word is written"
        self.console.say(f"Stopped before an update: {reason}. The same command goes on.")

    def failed(self, reason: str, *, instead_of: str | None = None) -> None:
        """Leave word that the run failed; a rank that fails alone speaks for those that it leaves waiting.

        `instead_of`: what it said before, if it now knows more.
        """
        status = read_status(self.folder)
        alone = status and (status.state == "running" or (instead_of and status.reason == instead_of))
        if self.claimed or (not self.ranks.first and alone):
            at = self.started or (self.claimed and self.claimed.origin)
            write_status(self.folder, "failed", at.position.step if at else 0, reason)

    def refused(self, reason: str) -> None:
        """Leave word of a mistake; a run that another job or an earlier start left there stays as it is."""
        if self.started or (self.claimed and not self.claimed.checkpoint):
            self.failed(reason)

    def _summary(self) -> Summary | None:
        """The results of a run that is finished; those of a shorter run that was extended are not its own."""
        summary, checkpoint = read_summary(self.folder), find_checkpoint(self.config)
        if summary and checkpoint and summary.steps == checkpoint.position.step == self.derived.steps:
            return summary
        return None

    def _claim(self) -> None:
        self.claimed = claim(self.config, self.console.say)
        if self.config.run.init_from and not self.claimed.checkpoint:
            starting_point(self.config.run.init_from, verify=True)

    def _open_tasks(self) -> None:
        self.tasks = open_tasks(self.config.evaluate)

    def _prepare(self) -> None:
        corpus = prepare(self.config.data, say=self.console.say, progress=self.console)
        assert self.claimed is not None, "the folder is claimed before the data is prepared"
        begin(self.claimed, self.config, corpus.fingerprint())

    def _open(self) -> tuple[Checkpoint | None, Corpus]:
        return open_origin(self.config, self.derived)

    def _build(self, corpus: Corpus, origin: Checkpoint | None) -> Run:
        return assemble(
            self.config,
            self.derived,
            corpus,
            origin,
            ranks=self.ranks,
            device=self.device,
            store=self.store,
            console=self.console,
        )
