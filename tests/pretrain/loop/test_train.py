"""The loop's order of things: what is done after which update, and how it ends. Updates are played."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pretrain.loop.train
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.loop.step import StepResult
from pretrain.loop.train import Diverged, train

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

    def __post_init__(self) -> None:
        self.config = SimpleNamespace(
            checkpoint=SimpleNamespace(every_steps=self.checkpoint_every),
            evaluate=SimpleNamespace(every_steps=self.evaluate_every),
            optimizer=AdamWOptions(),
            run=SimpleNamespace(debug=False),
            model=None,
        )
        self.derived = SimpleNamespace(
            lr=lambda tokens: self.rates.append(tokens) or 0.5, past=SimpleNamespace(moments_from=0)
        )
        self.engine = self.device = None

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
        self.position = replace(
            self.position, step=self.position.step + 1, tokens=self.position.tokens + BATCH
        )

    def evaluate(self) -> dict[str, Any]:
        return {}

    def save(self) -> Path:
        self.events.append(f"save {self.position.step}")
        return Path()

    def update(self, made: Update, lr: float, result: StepResult, *, seconds: float) -> None:
        self.events.append(f"update {made.after.step}")

    def validation(self, position: Position, scores: Any) -> None:
        self.events.append(f"validation {position.step}")

    def saving(self) -> None:
        self.events.append(f"sync {self.position.step}")

    def saved(self, position: Position, path: Path) -> None:
        self.events.append(f"saved {position.step}")

    def stopped(self, position: Position, reason: str) -> None:
        self.events.append(f"stopped {position.step}: {reason}")

    def of(self, kind: str) -> list[int]:
        return [int(event.split()[1]) for event in self.events if event.split()[0] == kind]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    def run(
        played: Played, results: dict[int, StepResult] | None = None, reasons: dict[int, str] | None = None
    ) -> bool:
        """`results` and `reasons` by the number of updates made before."""

        def train_step(*arguments: Any, stop: bool, **named: Any) -> StepResult:
            result = (results or {}).get(played.position.step, GOOD)
            return replace(result, stop=result.stop or stop)

        monkeypatch.setattr(pretrain.loop.train, "train_step", train_step)
        watch = SimpleNamespace(
            reason=lambda: (reasons or {}).get(min(played.position.step, max(reasons or [0])))
        )
        return train(played, played, watch)  # type: ignore[arg-type]

    return run


def test_updates_are_made_at_the_rate_of_the_tokens_before_them(play: Callable[..., bool]) -> None:
    played = Played(steps=4)
    assert play(played)
    assert played.rates == [0, 10, 20, 30]
    assert played.of("update") == [1, 2, 3, 4]


def test_what_is_due_is_done_and_the_end_always_is(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3, evaluate_every=2)
    assert play(played)
    assert played.of("save") == [3, 6, 7]
    assert played.of("validation") == [2, 4, 6, 7]
    assert played.events[-4:] == ["validation 7", "sync 7", "save 7", "saved 7"]


def test_without_an_interval_it_is_evaluated_at_the_end_alone(play: Callable[..., bool]) -> None:
    played = Played(steps=3)
    assert play(played)
    assert played.of("validation") == [3]


def test_a_finished_run_does_nothing(play: Callable[..., bool]) -> None:
    played = Played(steps=3, position=Position(step=3, tokens=30))
    assert play(played)
    assert played.events == []


def test_a_stop_is_saved_and_told(play: Callable[..., bool]) -> None:
    played = Played(steps=9)
    assert not play(played, reasons={4: "received SIGTERM"})
    assert played.events[-5:] == ["update 5", "sync 5", "save 5", "saved 5", "stopped 5: received SIGTERM"]


def test_another_ranks_stop_stops_this_one(play: Callable[..., bool]) -> None:
    played = Played(steps=9)
    assert not play(played, results={2: replace(GOOD, stop=True)})
    assert played.events[-1] == "stopped 3: another rank asked to stop"


def test_a_stop_in_the_last_update_is_the_end(play: Callable[..., bool]) -> None:
    played = Played(steps=5)
    assert play(played, reasons={4: "received SIGTERM"})
    assert played.of("save") == [5]
    assert not played.of("stopped")


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_ends_the_run_before_it_is_recorded_or_saved(
    play: Callable[..., bool], name: str, value: float
) -> None:
    played = Played(steps=9, checkpoint_every=3)
    with pytest.raises(Diverged, match=f"{name} is {value} at step 6"):
        play(played, results={5: replace(GOOD, **{name: value})})
    assert played.of("save") == [3]
    assert played.of("update") == [1, 2, 3, 4, 5]


def test_the_second_moment_counts_from_where_the_moments_began(
    play: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    played, seen = Played(steps=2, position=Position(tokens=1000)), []
    played.config.optimizer = AdamWOptions.model_validate({"adam_beta2": {"half_life_tokens": 40}})
    played.derived.past.moments_from = 1000
    asked = pretrain.loop.train.second_moment
    monkeypatch.setattr(
        pretrain.loop.train, "second_moment", lambda *given, **named: seen.append(asked(*given, **named))
    )
    assert play(played)
    first, second = seen
    assert first.beta2 == second.beta2 == 2 ** (-BATCH / 40)
    assert first.scale == pytest.approx(1.0)  # a batch that never changed needs no correction
    assert second.scale == pytest.approx(1.0)


def test_debug_checks_every_update_before_the_run_moves_on(
    play: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    played, checked = Played(steps=3), []
    played.config.run.debug = True
    monkeypatch.setattr(
        pretrain.loop.train, "check_update", lambda run, lr: checked.append((run.position.step, lr))
    )
    assert play(played)
    assert checked == [(0, 0.5), (1, 0.5), (2, 0.5)]
