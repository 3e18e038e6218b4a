"""The journal of the first rank: the record on disk, the console, the trackers, the page of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saved
from pretrain.data.epochs import epoch_changes
from pretrain.data.training import TrainingData
from pretrain.evaluate.harness.interval import Outcome, tracked_tasks
from pretrain.evaluate.harness.results import forget_after, in_words
from pretrain.loop.rewind import Rewound
from pretrain.loop.run import Run
from pretrain.loop.step import StepResult
from pretrain.monitor.console import Console
from pretrain.monitor.display import Training
from pretrain.monitor.display import Update as Shown
from pretrain.monitor.meter import Meter, peak_memory_bytes
from pretrain.monitor.paging import Pages
from pretrain.monitor.record import Record, now
from pretrain.monitor.statistics import Statistics, statistics_line, tracked_statistics
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Sample, Score
from pretrain.monitor.trackers import Tracker, tracked


class Written:
    """The journal of the first rank."""

    def __init__(
        self,
        folder: Path,
        *,
        flops_per_token: Callable[[int], int],
        record: Record,
        console: Console,
        training: Training,
        tracker: Tracker,
        meter: Meter,
        device: torch.device,
        data: TrainingData,
        pages: Pages | None,
    ) -> None:
        self.folder = folder
        self.flops_per_token = flops_per_token  # of the length of a sequence
        self.record = record
        self.console = console
        self.training = training
        self.tracker = tracker
        self.meter = meter
        self.device = device
        self.data = data
        self.pages = pages  # None: none are wanted
        self._pauses: dict[str, float] = {}  # seconds, since the last update

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        step = made.after.step
        line = metrics_line(made, lr, result)
        if result.rejected:
            self.record.event("skip", step=step, **asdict(result.rejected))
            self.console.say(f"step {step}  left out: {result.rejected}")
        flops = made.batch_tokens * self.flops_per_token(made.sequence_length)
        recent = self.meter.update(tokens=made.batch_tokens, flops=flops, seconds=seconds)
        own = self.meter.speed(tokens=made.batch_tokens, flops=flops, seconds=seconds)
        timing = {
            "step": step,
            "seconds": seconds,
            "tokens_per_second": own.tokens_per_second,
            "mfu": own.mfu,
            "memory_bytes": peak_memory_bytes(self.device),
            "time": now(),
            **self._paused(),
        }
        self.record.metrics.append(line)
        self.record.timing.append(timing)
        self.tracker.log(step, tracked(line) | tracked(timing))
        if result.statistics is not None:
            self._statistics(made.after.step, made.after.tokens, result.statistics)
        self.training.update(
            Shown(
                step=step,
                tokens=made.after.tokens,
                loss=result.loss,
                lr=lr,
                grad_norm=result.grad_norm,
                tokens_per_second=recent.tokens_per_second,
                mfu=recent.mfu,
            )
        )
        for begun in epoch_changes(self.data, made.sequence, made.after.sequence):
            self.record.event("epoch", step=step, **asdict(begun))
            self.console.say(f"step {step}  {begun.describe()}")

    def rewound(self, run: Run, back: Rewound) -> None:
        self.data = run.training
        self.record.rewind(back.to_step)
        self.tracker.rewind(back.to_step)
        forget_after(self.folder, back.to_step)
        self.record.event("rewind", step=back.to_step, **asdict(back))
        write_status(self.folder, "running", back.to_step)
        self.console.say(f"step {back.to_step}  rewound: {back.describe()}")

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        for source, result in scores.items():
            line = {
                "kind": "validation",
                "step": position.step,
                "tokens": position.tokens,
                "source": source,
                "loss": result.loss,
                "bits_per_byte": result.bits_per_byte,
                "loss_se": result.loss_se,
            }
            self.record.metrics.append(line)
            self.tracker.log(position.step, tracked(line))
            self.console.validation(
                step=position.step, source=source, loss=result.loss, bits_per_byte=result.bits_per_byte
            )

    def samples(self, position: Position, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        texts = [asdict(sample) for sample in samples]
        self.record.samples.append({"step": position.step, "tokens": position.tokens, "samples": texts})

    def shown(self) -> None:
        if self.pages is not None:
            with self.pause("report"):
                self.pages.update()

    def tasks(self, position: Position, outcome: Outcome) -> None:
        if outcome.problem:
            self.record.event("tasks_failed", step=position.step, reason=outcome.problem)
            self.console.say(f"Warning: step {position.step}  benchmark tasks failed: {outcome.problem}")
        if outcome.results:
            self.record.event("tasks", step=position.step, tasks=list(outcome.results))
            self.tracker.log(position.step, tracked_tasks(outcome.results))
            self.console.say(f"step {position.step}  {in_words(outcome.results)}")

    @contextmanager
    def pause(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._pauses[what] = self._pauses.get(what, 0.0) + time.perf_counter() - began

    def saving(self) -> None:
        self.record.sync()  # a checkpoint that outlives a power cut must find its metrics

    def saved(self, saved: Saved) -> None:
        self.record.event("checkpoint", step=saved.step, path=saved.path.name, seconds=saved.seconds)
        write_status(self.folder, "running", saved.step)
        self.console.say(f"step {saved.step}  checkpoint: {saved.path.name}")
        if saved.note:
            self.console.say(f"Warning: {saved.note}")

    def unsaved(self, saved: Saved) -> None:
        self.record.event("unsaved", step=saved.step, reason=saved.error)
        self.console.say(f"Warning: step {saved.step} was not saved: {saved.error}")

    def stopped(self, position: Position, reason: str) -> None:
        self.record.event("stop", step=position.step, reason=reason, **self._paused())
        write_status(self.folder, "continue", position.step, reason)
        self.console.say(
            f"Stopped after step {position.step}: {reason}. Saved; the same command continues this run."
        )

    def finished(self, position: Position) -> None:
        """Every update is made, evaluated and saved."""
        self.record.event("finish", step=position.step, **self._paused())

    def _statistics(self, step: int, tokens: int, statistics: Statistics) -> None:
        line = statistics_line(statistics, step=step, tokens=tokens)
        self.record.statistics.append(line)
        self.tracker.log(step, tracked_statistics(line))

    def _paused(self) -> dict[str, dict[str, float]]:
        """What training waited for since the last update, where it did."""
        pauses, self._pauses = self._pauses, {}
        return {"pauses": pauses} if pauses else {}


def metrics_line(made: Update, lr: float, result: StepResult) -> dict[str, Any]:
    """The line of metrics.jsonl of an update: nothing in it depends on the machine's speed."""
    line: dict[str, Any] = {
        "kind": "train",
        "step": made.after.step,
        "tokens": made.after.tokens,
        "batch_tokens": made.batch_tokens,
        "loss": result.loss,
        "lr": lr,
        "grad_norm": result.grad_norm,
    }
    if result.balance_loss is not None:
        line |= {"balance_loss": result.balance_loss, "z_loss": result.z_loss}
    if result.noise is not None:
        line |= asdict(result.noise)
    if result.rejected:
        line |= {"skipped": True}
    return line
