"""The rule about spikes: what it leaves out, what it must not, and that spikes do not widen it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.checkpoint.position import Position
from pretrain.guard.options import SpikeOptions
from pretrain.guard.spikes import FLOOR, History, Rejected, lasting, not_a_number, outlier, remember

OPTIONS = SpikeOptions(window=8, loss_sigmas=6, norm_sigmas=8, max_skips=2)
LOSSES = st.lists(st.floats(0, 20), min_size=8, max_size=8)
NORMS = st.lists(st.floats(1e-6, 1e6), min_size=8, max_size=8)


def history_of(losses: list[float], norms: list[float]) -> History:
    return History(losses=losses, log_norms=[math.log(norm) for norm in norms])


def test_a_loss_is_compared_with_mean_and_deviation() -> None:
    losses = [1.0, 3.0] * 4  # mean 2, deviation sqrt(8 / 7)
    deviation = math.sqrt(8 / 7)
    history = history_of(losses, [1.0] * 8)
    assert outlier(history, OPTIONS, loss=2 + 5.999 * deviation, grad_norm=1.0) is None
    found = outlier(history, OPTIONS, loss=2 + 6.001 * deviation, grad_norm=1.0)
    assert found == Rejected(
        measure="loss",
        value=2 + 6.001 * deviation,
        centre=pytest.approx(2.0),
        spread=pytest.approx(deviation),
        sigmas=pytest.approx(6.001),
    )


def test_a_gradient_norm_is_compared_by_its_logarithm() -> None:
    history = history_of([2.0] * 8, [1.0, math.e] * 4)  # logarithms 0 and 1
    edge = math.exp(0.5 + 8 * math.sqrt(2 / 7))
    assert outlier(history, OPTIONS, loss=2.0, grad_norm=edge * 0.999) is None
    found = outlier(history, OPTIONS, loss=2.0, grad_norm=edge * 1.001)
    assert found is not None
    assert found.measure == "log grad_norm"
    assert found.value == pytest.approx(math.log(edge * 1.001))


def test_of_values_that_hardly_differ_a_small_change_is_no_spike() -> None:
    history = history_of([2.0] * 8, [1.0] * 8)
    assert outlier(history, OPTIONS, loss=2 + 5.9 * FLOOR["loss"], grad_norm=1.0) is None
    assert outlier(history, OPTIONS, loss=2 + 6.1 * FLOOR["loss"], grad_norm=1.0) is not None


@given(LOSSES, NORMS)
def test_nothing_below_what_was_accepted_is_a_spike(losses: list[float], norms: list[float]) -> None:
    history = history_of(losses, norms)
    assert outlier(history, OPTIONS, loss=max(losses), grad_norm=max(norms)) is None
    assert outlier(history, OPTIONS, loss=0.0, grad_norm=0.0) is None


@given(st.lists(st.floats(0, 20), max_size=7))
def test_a_window_that_is_not_full_rejects_nothing(losses: list[float]) -> None:
    history = history_of(losses, [1.0] * len(losses))
    assert outlier(history, OPTIONS, loss=1e30, grad_norm=1e30) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_rejected_whatever_was_before(value: float) -> None:
    for found in (not_a_number(value, 1.0), not_a_number(1.0, value)):
        assert found is not None
        assert not found.finite
    assert not_a_number(1.0, 1.0) is None


@given(LOSSES, NORMS, st.lists(st.tuples(st.floats(0, 1e30), st.floats(0, 1e30)), max_size=30))
def test_rejected_values_do_not_widen_the_rule(
    losses: list[float], norms: list[float], burst: list[tuple[float, float]]
) -> None:
    before = after = history_of(losses, norms)
    for step, (loss, grad_norm) in enumerate(burst):
        after = remember(after, OPTIONS, step=step, loss=loss, grad_norm=grad_norm, rejected=True)
    assert (after.losses, after.log_norms) == (before.losses, before.log_norms)
    assert after.skips == [step for step in range(len(burst)) if step > len(burst) - 1 - OPTIONS.window]


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(1e-6, 1e6), st.booleans()), max_size=60))
def test_the_window_is_the_last_accepted_values_and_survives_a_checkpoint(
    updates: list[tuple[float, float, bool]],
) -> None:
    history, accepted, skips = History(), [], []
    for step, (loss, grad_norm, rejected) in enumerate(updates):
        history = remember(history, OPTIONS, step=step, loss=loss, grad_norm=grad_norm, rejected=rejected)
        (skips if rejected else accepted).append(step if rejected else loss)
    last = len(updates) - 1
    assert history.losses == accepted[-8:]
    assert history.skips == [step for step in skips if step > last - 8]
    assert lasting(history, OPTIONS) == (len(history.skips) > 2)
    position = Position(step=len(updates), skipped_updates=len(skips), history=history)
    assert Position(**json.loads(json.dumps(asdict(position)))) == position
    assert position.updates == len(accepted)


def test_a_batch_that_predicts_nothing_does_not_enter_the_window() -> None:
    history = history_of([2.0] * 8, [1.0] * 8)
    assert remember(history, OPTIONS, step=9, loss=0.0, grad_norm=0.0, rejected=False) == history


def test_a_checkpoint_of_before_there_was_a_guard_has_applied_every_update() -> None:
    old = Position(**{"step": 7, "tokens": 70, "sequence": 14, "expert_counts": None})
    assert (old.updates, old.skipped_sequences, old.history) == (7, 0, History())
