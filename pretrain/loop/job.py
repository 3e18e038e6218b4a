"""One process's work, in order: claim the folder, prepare the data, build, train, finish."""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from megatron_lite.model.parameters import flops_per_token
from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.branch import check_branch, with_tokenizer
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.position import Position
from pretrain.config.derive import model_shape, passes
from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.data.corpus import Corpus
from pretrain.data.prepare import open_corpus, prepare
from pretrain.errors import UserError
from pretrain.exchange.source import starting_point
from pretrain.guard.stop import Beginning, StopWatch
from pretrain.loop.announce import announce
from pretrain.loop.build import DTYPES, build_engine, first_state, kernel_choice, set_state
from pretrain.loop.finish import finish
from pretrain.loop.folder import (
    RunFolder,
    begin,
    check_fingerprint,
    claim,
    find_checkpoint,
    find_origin,
)
from pretrain.loop.journal import Silent, Written
from pretrain.loop.reading import open_rows
from pretrain.loop.run import Run
from pretrain.loop.train import train
from pretrain.monitor.console import Console
from pretrain.monitor.meter import Meter
from pretrain.monitor.peak import peak_flops
from pretrain.monitor.record import Record
from pretrain.monitor.status import read_status, write_status
from pretrain.monitor.summary import Summary, read_summary, show_summary
from pretrain.monitor.trackers import open_trackers
from pretrain.ranks import Ranks, all_do, first_does

if TYPE_CHECKING:
    import torch.distributed as dist


class Job:
    """A run as one process goes through it."""

    def __init__(
        self, config: Config, ranks: Ranks, device: torch.device, store: dist.Store, console: Console
    ) -> None:
        self.config = config = with_tokenizer(config, find_origin(config))
        self.ranks = ranks
        self.device = device
        self.store = store
        self.console = console
        self.derived = derived_of(config)
        self.folder = config.run.folder
        self.began = Beginning()
        self.claimed: RunFolder | None = None  # the first rank's
        self.started: Run | None = None

    def run(self) -> int:
        """Everything; the exit code."""
        first_does(self._claim, "claim", self.ranks, self.store)
        first_does(self._prepare, "prepare", self.ranks, self.store)
        origin, corpus = all_do(self._open, self.ranks)
        summary = self._summary()
        if summary:
            if self.ranks.first:
                self.console.say(f"{self.config.run.name} is finished; another run.name starts another run.")
                show_summary(summary, sys.stdout)
            return 0
        run = self.started = self._build(corpus, origin)
        stop_watch = StopWatch(self.config.guard, self.folder, self.began)
        if self.ranks.first:
            self._train(run, stop_watch)
        else:
            train(run, Silent(), stop_watch)
        return 0

    def failed(self, reason: str) -> None:
        """Leave word that the run failed; a rank that fails alone speaks for those that it leaves waiting."""
        status = read_status(self.folder)
        if self.claimed or (not self.ranks.first and status and status.state == "running"):
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
        self.claimed = claim(self.config)
        if self.config.run.init_from and not self.claimed.checkpoint:
            starting_point(self.config.run.init_from, verify=True)

    def _prepare(self) -> None:
        corpus = prepare(self.config.data, say=self.console.say, progress=self.console)
        assert self.claimed is not None, "the folder is claimed before the data is prepared"
        begin(self.claimed, self.config, corpus.fingerprint())

    def _open(self) -> tuple[Checkpoint | None, Corpus]:
        origin, corpus = find_origin(self.config), open_corpus(self.config.data)
        if find_checkpoint(self.config):
            assert origin is not None, "a run's own checkpoint is what it goes on from"
            check_fingerprint(origin, corpus.fingerprint())
        elif origin:
            check_branch(origin, self.derived, self._shape(corpus), corpus.fingerprint())
        else:
            first_state(self.config, self._shape(corpus))  # refuses another model's before memory is spent
        return origin, corpus

    def _shape(self, corpus: Corpus) -> ModelShape:
        shape = model_shape(self.config, corpus.tokenizer.vocab_size)
        if shape.vocab_size < corpus.tokenizer.vocab_size:
            raise UserError(
                f"model.vocab_size: {shape.vocab_size} is less than the tokenizer's "
                f"{corpus.tokenizer.vocab_size}; leave it out, or raise it."
            )
        return shape

    def _build(self, corpus: Corpus, origin: Checkpoint | None) -> Run:
        shape = self._shape(corpus)
        training, validation = open_rows(self.config, self.derived, corpus)
        if self.ranks.first:
            self.console.say("Kernels: " + "; ".join(kernel_choice(self.config, self.device).reasons) + ".")
        position = origin.position if origin else Position(tokens=self.derived.first_tokens)
        engine = build_engine(
            self.config, shape, self.ranks, self.device, first_passes=self._passes(position.step)
        )
        set_state(engine, self.config, shape, origin)
        return Run(
            config=self.config,
            shape=shape,
            derived=self.derived,
            ranks=self.ranks,
            device=self.device,
            folder=self.folder,
            corpus=corpus,
            training=training,
            validation=validation,
            engine=engine,
            position=position,
        )

    def _passes(self, step: int) -> int:
        """Forward passes of this rank for an update; behind the end, for the last one."""
        step = min(step, self.derived.steps - 1)
        micro_sequences = self.derived.stage_at(step).micro_sequences
        return passes(self.derived.timeline.update(step).sequences, micro_sequences, self.ranks.size)

    def _train(self, run: Run, stop_watch: StopWatch) -> None:
        done = run.position.step
        record = Record(self.folder)
        trackers = open_trackers(
            self.config.trackers,
            self.folder,
            step=done,
            config=self.config.model_dump(mode="json"),
            say=self.console.say,
        )
        write_status(self.folder, "running", done)
        assert self.claimed is not None, "the folder is claimed before a run is built"
        announce(run, self.claimed, record, self.console, self.ranks.size)
        try:
            with self.console.training(run.derived.steps, done) as training:
                journal = Written(
                    self.folder,
                    flops_per_token=cache(partial(flops_per_token, run.shape)),
                    record=record,
                    console=self.console,
                    training=training,
                    tracker=trackers,
                    meter=self._meter(),
                    device=self.device,
                    data=run.training,
                )
                finished = train(run, journal, stop_watch)
            if finished:
                record.event("finish", step=run.position.step)
                show_summary(finish(run, seconds=time.monotonic() - self.began.seconds), sys.stdout)
        finally:
            trackers.close()
            record.close()

    def _meter(self) -> Meter:
        return Meter(
            peak_flops=peak_flops(self.device, DTYPES[self.config.run.precision]),
            num_ranks=self.ranks.size,
        )
