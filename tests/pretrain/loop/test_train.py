"""The loop's order of things: what is done after which update, and how it ends. Updates are played."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from played import BATCH, GOOD, Played

import pretrain.loop.evaluation
import pretrain.loop.saving
import pretrain.loop.train
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.position import Position
from pretrain.guard.options import SpikeOptions
from pretrain.guard.spikes import Rejected
from pretrain.loop.step import StepResult
from pretrain.loop.train import FIRST_SECONDS, Diverged, NotSaved, train


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
            reason=lambda: (reasons or {}).get(min(played.position.step, max(reasons or [0]))),
            took=lambda what, seconds: None,
        )
        for module in (pretrain.loop.evaluation, pretrain.loop.saving):
            monkeypatch.setattr(module, "any_rank", lambda flag, device: flag)
        watchdog = SimpleNamespace(at=lambda *where, **how: played.watched.append((*where, *how.values())))
        return train(played, played, watch, watchdog)  # type: ignore[arg-type]

    return run


def test_updates_are_made_at_the_rate_of_the_tokens_before_them(play: Callable[..., bool]) -> None:
    played = Played(steps=4)
    assert play(played)
    assert played.rates == [0, 10, 20, 30]
    assert played.of("update") == [1, 2, 3, 4]


def test_a_trace_may_take_longer_to_write_than_an_update(play: Callable[..., bool]) -> None:
    played = Played(steps=3, profiled={2})
    assert play(played)
    last = [where for where in played.watched if where[0] in ("read", "update", "profile")]
    assert last[3:6] == [("update", 2, 0.0), ("profile", 2, FIRST_SECONDS), ("read", 3, 0.0)]


def test_what_is_due_is_done_and_the_end_always_is(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3, evaluate_every=2)
    assert play(played)
    assert played.of("save") == [3, 6, 7]
    assert played.of("validation") == [2, 4, 6, 7]
    assert played.events[-5:] == ["validation 7", "sync 7", "save 7", "saved 6", "saved 7"]


def test_without_an_interval_it_is_evaluated_at_the_end_alone(play: Callable[..., bool]) -> None:
    played = Played(steps=3)
    assert play(played)
    assert played.of("validation") == [3]


def test_a_finished_run_does_nothing(play: Callable[..., bool]) -> None:
    played = Played(steps=3, position=Position(step=3, tokens=30), events=["validation 3"])
    assert play(played)
    assert played.events == ["validation 3"]


def test_a_stop_is_saved_and_told(play: Callable[..., bool]) -> None:
    played = Played(steps=9)
    assert not play(played, reasons={4: "received SIGTERM"})
    assert played.events[-5:] == ["update 5", "sync 5", "save 5", "saved 5", "stopped 5: received SIGTERM"]


def test_training_goes_on_while_a_checkpoint_is_written(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3)
    assert play(played)
    assert [event for event in played.events if "update" in event or "saved" in event] == [
        *("update 1", "update 2", "update 3", "update 4", "update 5", "saved 3", "update 6", "update 7"),
        *("saved 6", "saved 7"),
    ]


def test_a_save_that_fails_costs_the_run_nothing(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3, full=[3])
    assert play(played)
    assert "unsaved 3" in played.events
    assert played.of("saved") == [6, 7]


def test_a_last_state_that_cannot_be_saved_is_no_success(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3, full=[7])
    with pytest.raises(NotSaved, match=r"after step 7 could not be saved: the disk is full\."):
        play(played)
    assert played.of("saved") == [3, 6]


def test_a_last_state_is_saved_without_the_store_where_that_is_gone(play: Callable[..., bool]) -> None:
    played = Played(steps=7, checkpoint_every=3, full=[7], store_gone=True)
    assert play(played)
    assert played.of("saved") == [3, 6, 7]


def test_an_evaluation_that_is_given_up_is_owed_by_the_next_start(play: Callable[..., bool]) -> None:
    played = Played(steps=9, evaluate_every=4)
    assert not play(played, reasons={4: "received SIGTERM"})
    assert (played.of("validation"), played.of("save"), played.position.step) == ([], [4], 4)
    assert play(played)
    assert played.of("validation") == [4, 8, 9]
    assert played.of("update") == list(range(1, 10))


def test_a_save_to_stop_is_no_regular_one_and_owes_what_was_due(play: Callable[..., bool]) -> None:
    played = Played(steps=9, checkpoint_every=3, spike=SpikeOptions())
    assert not play(played, results={2: SPIKE, 3: SPIKE}, reasons={3: "received SIGTERM"})
    assert played.saves == [(4, False, True)]
    played.save_owed = True
    assert play(played)
    assert played.saves[1:] == [(5, True, False), (6, True, False), (9, True, False)]


def test_another_ranks_stop_stops_this_one(play: Callable[..., bool]) -> None:
    played = Played(steps=9)
    assert not play(played, results={2: replace(GOOD, stop=True)})
    assert played.events[-1] == "stopped 3: another rank asked to stop"


def test_a_stop_in_the_last_update_leaves_its_evaluation_to_the_next_start(play: Callable[..., bool]) -> None:
    played = Played(steps=5)
    assert not play(played, reasons={4: "received SIGTERM"})
    assert (played.of("save"), played.of("validation")) == ([5], [])
    assert play(played)
    assert (played.of("save"), played.of("validation")) == ([5], [5])


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_ends_a_run_that_may_not_rewind_before_it_is_recorded_or_saved(
    play: Callable[..., bool], name: str, value: float
) -> None:
    played = Played(steps=9, checkpoint_every=3)
    bad = replace(GOOD, **{name: value}, rejected=Rejected(measure=name, value=value))
    with pytest.raises(Diverged, match=f"{name} is {value} at step 6, and guard.spike is off"):
        play(played, results={5: bad})
    assert played.of("save") == [3]
    assert played.of("update") == [1, 2, 3, 4, 5]


SPIKE = replace(GOOD, rejected=Rejected(measure="loss", value=9.0, centre=2.0, spread=0.1, sigmas=70.0))
NAN = replace(GOOD, rejected=Rejected(measure="loss", value=math.nan))


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A rewind to where the last save was."""

    def rewind(played: Played, made: Update, reason: str) -> str:
        position, saves = played.position, played.of("save")
        step = saves[-1] if saves else 0
        played.position = Position(step=step, tokens=step * BATCH, rewinds=position.rewinds + 1)
        return reason

    monkeypatch.setattr(pretrain.loop.train, "rewind", rewind)
    return rewind


def test_a_save_that_falls_on_an_update_that_was_left_out_waits(play: Callable[..., bool]) -> None:
    played = Played(steps=9, checkpoint_every=3, spike=SpikeOptions())
    assert play(played, results={2: SPIKE, 3: SPIKE})
    assert played.of("save") == [5, 6, 9]
    assert played.of("update") == list(range(1, 10))


def test_a_stop_and_the_end_are_saved_all_the_same(play: Callable[..., bool]) -> None:
    played = Played(steps=4, spike=SpikeOptions())
    assert not play(played, results={1: SPIKE}, reasons={1: "received SIGTERM"})
    assert played.of("save") == [2]
    assert play(played, results={3: SPIKE})
    assert played.of("save") == [2, 4]


@pytest.mark.parametrize(
    ("bad", "wrong"), [(NAN, "loss is nan at step 6"), (None, "a weight is not a number")]
)
def test_what_is_no_number_rewinds_until_that_was_done_too_often(
    play: Callable[..., bool], back: Any, bad: StepResult | None, wrong: str
) -> None:
    played = Played(steps=9, checkpoint_every=3, spike=SpikeOptions(max_rewinds=2))
    played.bad_weights = [] if bad else [6]
    with pytest.raises(Diverged, match=f"{wrong}.*after 2 rewinds"):
        play(played, results={5: bad} if bad else {})
    assert played.of("save") == [3]
    assert played.of("rewound") == [3, 3]
    assert played.of("update") == [1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5]


def test_a_spike_that_lasts_rewinds(play: Callable[..., bool], back: Any) -> None:
    played = Played(steps=9, checkpoint_every=3, spike=SpikeOptions(max_skips=1))
    assert play(played, results={4: SPIKE, 6: SPIKE})
    assert played.of("rewound") == [6]  # which forgets what was left out before
    assert "2 of the last 128 updates were left out" in next(e for e in played.events if "rewound" in e)
    assert played.of("update") == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9]


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


def test_the_second_moment_counts_what_was_applied(
    play: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = Position(step=3, tokens=30, skipped_updates=1, skipped_tokens=10)
    played, asked = Played(steps=4, position=left_out), []
    monkeypatch.setattr(pretrain.loop.train, "second_moment", lambda *given, **named: asked.append(named))
    assert play(played)
    assert [(named["step"], named["tokens_before"]) for named in asked] == [(3, 20)]


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
