"""The same curve from transformers' and torch's own schedulers, update by update, where they define one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.constant import Constant
from megatron_lite.schedules.cosine import Cosine
from megatron_lite.schedules.inverse_sqrt import InverseSqrt
from megatron_lite.schedules.linear import Linear
from megatron_lite.schedules.step import Step
from megatron_lite.schedules.wsd import Wsd

BATCH_TOKENS = 8192
LR, STEPS, WARM = 3e-3, 200, 40


def in_tokens(updates: int) -> int:
    return updates * BATCH_TOKENS


def ours(schedule: Schedule, steps: int = STEPS) -> list[float]:
    """The rate of each update and of the ten that would come after the end."""
    lr = schedule.bind(batch=ConstantBatch(batch_tokens=BATCH_TOKENS), total_tokens=in_tokens(steps))
    return [lr(in_tokens(step)) for step in range(steps + 10)]


def as_they(make: Callable[[torch.optim.Optimizer], Any], updates: int = STEPS + 10) -> list[float]:
    """The rates that one of their schedulers gives the updates of an optimizer."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, found = make(optimizer), []
    for _ in range(updates):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def of_transformers(name: str, **options: Any) -> list[float]:
    transformers = pytest.importorskip("transformers")
    return as_they(lambda optimizer: getattr(transformers, name)(optimizer, **options))


@pytest.mark.parametrize(
    ("their_decay", "decay"), [("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "one_minus_sqrt")]
)
@pytest.mark.parametrize("warm", [0, WARM])
def test_transformers_wsd(their_decay, decay, warm):
    mine = ours(Wsd(lr_max=LR, warmup_tokens=in_tokens(warm), decay_tokens=in_tokens(60), decay=decay))
    found = of_transformers(
        "get_wsd_schedule",
        num_warmup_steps=warm,
        num_decay_steps=60,
        num_training_steps=STEPS,
        decay_type=their_decay,
    )
    assert mine == pytest.approx(found, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize(
    ("their_decay", "decay"), [("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "one_minus_sqrt")]
)
def test_transformers_wsd_to_a_share(their_decay, decay):
    """Their floor lifts the warm-up as well, so there is none here."""
    found = of_transformers(
        "get_wsd_schedule",
        num_warmup_steps=0,
        num_decay_steps=60,
        num_training_steps=STEPS,
        decay_type=their_decay,
        min_lr_ratio=0.1,
    )
    mine = ours(Wsd(lr_max=LR, decay_tokens=in_tokens(60), decay=decay, decay_to=0.1))
    assert mine == pytest.approx(found, rel=1e-12)


def test_transformers_cosine():
    """Theirs rises again behind its end."""
    found = of_transformers(
        "get_cosine_schedule_with_warmup", num_warmup_steps=WARM, num_training_steps=STEPS
    )
    mine = ours(Cosine(lr_max=LR, warmup_tokens=in_tokens(WARM)))
    assert mine[: STEPS + 1] == pytest.approx(found[: STEPS + 1], rel=1e-12, abs=1e-18)


def test_transformers_cosine_to_a_floor():
    found = of_transformers(
        "get_cosine_with_min_lr_schedule_with_warmup",
        num_warmup_steps=WARM,
        num_training_steps=STEPS,
        min_lr=3e-4,
    )
    mine = ours(Cosine(lr_max=LR, lr_min=3e-4, warmup_tokens=in_tokens(WARM)))
    assert mine[: STEPS + 1] == pytest.approx(found[: STEPS + 1], rel=1e-12)


def test_transformers_linear():
    found = of_transformers(
        "get_linear_schedule_with_warmup", num_warmup_steps=WARM, num_training_steps=STEPS
    )
    assert ours(Linear(lr_max=LR, warmup_tokens=in_tokens(WARM))) == pytest.approx(
        found, rel=1e-12, abs=1e-18
    )


@pytest.mark.parametrize("timescale", [None, 25, 100])
def test_transformers_inverse_sqrt(timescale):
    found = of_transformers("get_inverse_sqrt_schedule", num_warmup_steps=WARM, timescale=timescale)
    mine = InverseSqrt(
        lr_max=LR,
        warmup_tokens=in_tokens(WARM),
        timescale_tokens=timescale and in_tokens(timescale),
    )
    assert ours(mine) == pytest.approx(found, rel=1e-12)


def test_transformers_constant():
    found = of_transformers("get_constant_schedule_with_warmup", num_warmup_steps=WARM)
    assert ours(Constant(lr_max=LR, warmup_tokens=in_tokens(WARM))) == pytest.approx(found, rel=1e-12)


def test_torch_cosine_annealing():
    found = as_they(lambda optimizer: theirs.CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=1e-4))
    mine = ours(Cosine(lr_max=LR, lr_min=1e-4))
    assert mine[: STEPS + 1] == pytest.approx(found[: STEPS + 1], rel=1e-9)  # theirs is a recurrence


def test_torch_linear():
    found = as_they(lambda optimizer: theirs.LinearLR(optimizer, 1, 0.25, total_iters=STEPS))
    assert ours(Linear(lr_max=LR, lr_min=LR / 4)) == pytest.approx(found, rel=1e-9)


def test_torch_multi_step():
    found = as_they(lambda optimizer: theirs.MultiStepLR(optimizer, [160, 180], gamma=0.1**0.5))
    assert ours(Step(lr_max=LR)) == pytest.approx(found, rel=1e-12)


def test_torch_warm_up_then_linear_then_constant():
    """Three of theirs in a row: a warm-up (which cannot begin at 0), a plateau, a line to a twentieth."""

    def chain(optimizer: torch.optim.Optimizer) -> theirs.SequentialLR:
        parts = [
            theirs.LinearLR(optimizer, 1e-12, 1, total_iters=WARM),
            theirs.ConstantLR(optimizer, 1),
            theirs.LinearLR(optimizer, 1, 0.05, total_iters=60),
        ]
        return theirs.SequentialLR(optimizer, parts, milestones=[WARM, STEPS - 60])

    mine = Wsd(
        lr_max=LR, warmup_tokens=in_tokens(WARM), decay_tokens=in_tokens(60), decay="linear", decay_to=0.05
    )
    assert ours(mine) == pytest.approx(as_they(chain), rel=1e-9, abs=1e-11)
