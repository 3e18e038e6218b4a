"""What a run tells the world: its record on disk, the console, and the trackers, by the first rank only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch

from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.data.epochs import epoch_changes
from pretrain.data.training import TrainingData
from pretrain.loop.step import StepResult
from pretrain.monitor.console import Console
from pretrain.monitor.display import Training
from pretrain.monitor.display import Update as Shown
from pretrain.monitor.meter import Meter, peak_memory_bytes
from pretrain.monitor.record import Record
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Score
from pretrain.monitor.trackers import Tracker, tracked


class Journal(Protocol):
    """What the loop tells as it goes."""

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        """One update was made at `lr`, in `seconds`."""

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        """The loss on held-out text, by source."""

    def saving(self) -> None:
        """A checkpoint is about to be written."""

    def saved(self, position: Position, path: Path) -> None:
        """A checkpoint stands at `path`."""

    def stopped(self, position: Position, reason: str) -> None:
        """The run stops before its end, and can be continued."""


class Silent:
    """The journal of the other ranks."""

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        """Nothing."""

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        """Nothing."""

    def saving(self) -> None:
        """Nothing."""

    def saved(self, position: Position, path: Path) -> None:
        """Nothing."""

    def stopped(self, position: Position, reason: str) -> None:
        """Nothing."""


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

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        step = made.after.step
        line = {
            "kind": "train",
            "step": step,
            "tokens": made.after.tokens,
            "batch_tokens": made.batch_tokens,
            "loss": result.loss,
            "lr": lr,
            "grad_norm": result.grad_norm,
        }
        if result.balance_loss is not None:
            line |= {"balance_loss": result.balance_loss, "z_loss": result.z_loss}
        flops = made.batch_tokens * self.flops_per_token(made.sequence_length)
        recent = self.meter.update(tokens=made.batch_tokens, flops=flops, seconds=seconds)
        own = self.meter.speed(tokens=made.batch_tokens, flops=flops, seconds=seconds)
        timing = {
            "step": step,
            "seconds": seconds,
            "tokens_per_second": own.tokens_per_second,
            "mfu": own.mfu,
            "memory_bytes": peak_memory_bytes(self.device),
        }
        self.record.metrics.append(line)
        self.record.timing.append(timing)
        self.tracker.log(step, tracked(line) | tracked(timing))
        self.training.update(
            Shown(step=step, loss=result.loss, lr=lr, tokens_per_second=recent.tokens_per_second)
        )
        for begun in epoch_changes(self.data, made.sequence, made.after.sequence):
            self.record.event("epoch", step=step, **asdict(begun))
            self.console.say(f"step {step}  {begun.describe()}")

    def validation(self, position: Position, scores: Mapping[str, Score]) -> None:
        for source, result in scores.items():
            line = {
                "kind": "validation",
                "step": position.step,
                "tokens": position.tokens,
                "source": source,
                "loss": result.loss,
                "bits_per_byte": result.bits_per_byte,
            }
            self.record.metrics.append(line)
            self.tracker.log(position.step, tracked(line))
            self.console.validation(
                step=position.step, source=source, loss=result.loss, bits_per_byte=result.bits_per_byte
            )

    def saving(self) -> None:
        self.record.sync()  # a checkpoint that outlives a power cut must find its metrics

    def saved(self, position: Position, path: Path) -> None:
        self.record.event("checkpoint", step=position.step, path=path.name)
        write_status(self.folder, "running", position.step)

    def stopped(self, position: Position, reason: str) -> None:
        self.record.event("stop", step=position.step, reason=reason)
        write_status(self.folder, "continue", position.step, reason)
        self.console.say(
            f"Stopped after step {position.step}: {reason}. Saved; the same command continues this run."
        )
