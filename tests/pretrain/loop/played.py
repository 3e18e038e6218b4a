"""A run and its journal that only write down what they are asked: updates are played."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saved
from pretrain.evaluate.options import EvaluateOptions
from pretrain.guard.options import SpikeOptions
from pretrain.guard.spikes import History
from pretrain.loop.step import StepResult
from pretrain.monitor.profiling import Inspection

BATCH = 10
GOOD = StepResult(loss=2.0, grad_norm=1.0, balance_loss=None, z_loss=None, expert_counts=None, stop=False)


@dataclass
class Played:
    """A run and its journal that only write down what they are asked."""

    steps: int
    checkpoint_every: int = 100
    evaluate_every: int | None = None
    position: Position = field(default_factory=Position)
    events: list[str] = field(default_factory=list)
    rates: list[int] = field(default_factory=list)
    spike: SpikeOptions | None = None
    bad_weights: list[int] = field(default_factory=list)  # steps after which a weight is no number
    full: list[int] = field(default_factory=list)  # steps whose save finds the disk full
    profiled: set[int] = field(default_factory=set)  # updates that are looked into
    watched: list[tuple[Any, ...]] = field(default_factory=list)  # what the watchdog was told
    waited_for: list[Saved] = field(default_factory=list)
    saves: list[tuple[int, bool, bool]] = field(default_factory=list)  # step, regular, owed
    save_owed: bool = False
    store_gone: bool = False  # what `full` finds is no full disk, but a launcher that took its store along

    def __post_init__(self) -> None:
        self.config = SimpleNamespace(
            checkpoint=SimpleNamespace(every_steps=self.checkpoint_every),
            evaluate=EvaluateOptions(every_steps=self.evaluate_every),
            optimizer=AdamWOptions(),
            run=SimpleNamespace(debug=False),
            guard=SimpleNamespace(spike=self.spike, check_replicas_every=None),
            trackers=SimpleNamespace(noise_scale_every=None, statistics_every=None, report=False),
            model=None,
        )
        self.derived = SimpleNamespace(
            lr=lambda tokens: self.rates.append(tokens) or 0.5,
            past=SimpleNamespace(moments_from=0),
            first_step=0,
        )
        self.ranks = SimpleNamespace(first=True, size=1)
        self.saver, self.under_way = SimpleNamespace(finished=self.ended, wait=self.waited), []
        self.engine = SimpleNamespace(finite=lambda: self.position.step not in self.bad_weights)
        self.inspector = SimpleNamespace(
            inspecting=lambda step: nullcontext(Inspection(looking=step in self.profiled))
        )
        self.device = self.judge = None

    @property
    def finished(self) -> bool:
        return self.position.step >= self.steps

    @property
    def next(self) -> Update:
        return Update(
            step=self.position.step,
            tokens=self.position.tokens,
            sequence=0,
            sequences=BATCH,
            sequence_length=1,
        )

    def micro_batches(self) -> list[Any]:
        return []

    def advance(self, result: StepResult) -> None:
        step, history = self.position.step + 1, self.position.history
        if result.rejected:
            history = History(skips=[*history.skips, step])
        tokens = self.position.tokens + BATCH
        self.position = replace(self.position, step=step, tokens=tokens, history=history)

    def rewound(self, run: Any, back: str) -> None:
        self.events.append(f"rewound {self.position.step} {back}")

    def evaluate(self, given_up: Callable[[], bool]) -> dict[str, Any] | None:
        return None if given_up() else {"text": None}

    def validated(self) -> set[str]:
        return {"text"} if self.position.step in self.of("validation") else set()

    def save(self, *, regular: bool, owed: bool) -> None:
        self.saves.append((self.position.step, regular, owed))
        self.events.append(f"save {self.position.step}")
        failed = "the disk is full." if self.position.step in self.full else None
        path = Path(f"step_{self.position.step}")
        self.under_way.append(Saved(step=self.position.step, path=path, seconds=1.0, bytes=1, error=failed))

    def save_gathered(self) -> Saved:
        step = self.position.step
        error = "the disk is full." if step in self.full and not self.store_gone else None
        return Saved(step=step, path=Path(f"step_{step}"), seconds=1.0, bytes=1, error=error)

    def ended(self) -> list[Saved]:
        """A save is on disk when it is waited for, or two updates later."""
        done = [save for save in self.under_way if save.step + 2 <= self.position.step]
        self.under_way = [save for save in self.under_way if save not in done]
        found, self.waited_for = self.waited_for + done, []
        return found

    def waited(self) -> Saved | None:
        last = self.under_way[-1] if self.under_way else None
        self.waited_for, self.under_way = self.under_way, []
        return last

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        self.events.append(f"update {made.after.step}")

    def validation(self, position: Position, scores: Any) -> None:
        self.events.append(f"validation {position.step}")

    def shown(self) -> None:
        """Nobody looks."""

    def pause(self, what: str) -> AbstractContextManager[None]:
        return nullcontext()

    def saving(self) -> None:
        self.events.append(f"sync {self.position.step}")

    def saved(self, saved: Saved) -> None:
        self.events.append(f"saved {saved.step}")

    def unsaved(self, saved: Saved) -> None:
        self.events.append(f"unsaved {saved.step}")

    def stopped(self, position: Position, reason: str) -> None:
        self.events.append(f"stopped {position.step}: {reason}")

    def of(self, kind: str) -> list[int]:
        return [int(event.split()[1]) for event in self.events if event.split()[0] == kind]


Played.validation.sources = ["text"]  # type: ignore[attr-defined]  # it plays the held-out text as well
