"""What must hold for every schedule under every tail, and at the edges of what makes sense."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.registry import ScheduleOptions
from megatron_lite.schedules.tails import TailName

OPTIONS = TypeAdapter(ScheduleOptions)
NEEDED = {"inverse_sqrt": {"timescale_tokens": 500}, "infinite": {"lr_constant": 0.005, "cooldown_tokens": 5}}
NAMES = [name for name in registry.names() if name != "from_file"]  # that one has a table to be read first
FALL_TO_A_FLOOR = ("cosine", "linear", "power_law_optimised")
LONG = 10**6  # tokens over which whatever changes does so slowly


def made(name: str, **options: Any) -> Schedule:
    """A schedule with what it needs, and with a floor above 0 where a decay is to fall from it."""
    floor = {"lr_min": 0.001} if name in FALL_TO_A_FLOOR and "decay_tokens" in options else {}
    section = {"name": name, "lr_max": 0.01, "decay": "linear", **NEEDED.get(name, {}), **floor, **options}
    return OPTIONS.validate_python(section)


@st.composite
def schedules(draw: st.DrawFn, shortest: int = 0) -> tuple[Schedule, int]:
    """Any schedule under any tail, and a run that it fits, whose parts are no shorter than `shortest`."""
    name = draw(st.sampled_from(NAMES))
    cap = draw(st.floats(1e-6, 1))
    tokens = st.integers(shortest, 10**13)
    warmup, body, decay = draw(tokens), draw(tokens) * 10 + 1, draw(tokens)
    parts = {
        "power": {"amplitude": draw(st.floats(1e-3, 100)), "exponent": draw(st.floats(-2, 0))},
        "cosine": {"lr_min": cap * draw(st.floats(0.01, 1))},
        "linear": {"lr_min": cap * draw(st.floats(0.01, 1))},
        "inverse_sqrt": {"timescale_tokens": draw(tokens) + 1},
        "infinite": {"lr_constant": cap * draw(st.floats(0.01, 1)), "cooldown_tokens": draw(tokens) + 1},
        "step": {"at": [0.95, 0.97], "factor": draw(st.floats(0.01, 1))},
        "power_law_optimised": {
            "lr_min": cap * draw(st.floats(0.01, 1)),
            "exponent": draw(st.floats(1, 3)),
            "flat_share": draw(st.floats(0, 0.9)),
        },
    }
    section = {
        "name": name,
        "lr_max": cap,
        "warmup_tokens": min(warmup, 9 * body) if name == "step" else warmup,
        "decay_tokens": decay,
        "decay": draw(st.sampled_from(get_args(TailName))),
        "decay_to": draw(st.floats(0.01, 1)),
        **parts.get(name, {}),
    }
    return OPTIONS.validate_python(section), section["warmup_tokens"] + body + decay


def tokens_of(draw: Any, schedule: Schedule, total: int) -> int:
    """Anywhere in a run or behind it; often beside a seam."""
    seams = [0, schedule.warmup_tokens, total - schedule.decay_tokens, total]
    beside = st.sampled_from(seams).flatmap(lambda seam: st.integers(max(0, seam - 2), seam + 2))
    return draw(st.one_of(beside, st.integers(0, 2 * total)))


@given(schedules(), st.integers(1, 2**30), st.data())
def test_never_above_the_cap_nor_below_zero_and_pure(case, batch_tokens, data):
    schedule, total = case
    batch = ConstantBatch(batch_tokens=batch_tokens)
    lr, tokens = schedule.bind(batch=batch, total_tokens=total), tokens_of(data.draw, schedule, total)
    first = lr(tokens)
    assert 0 <= first <= schedule.lr_max
    lr(tokens_of(data.draw, schedule, total))
    assert lr(tokens) == first == schedule.bind(batch=batch, total_tokens=total)(tokens)


@given(schedules(shortest=LONG), st.data())
def test_continuous_but_where_a_step_is_meant(case, data):
    schedule, total = case
    lr = schedule.bind(batch=ConstantBatch(batch_tokens=2**22), total_tokens=total)
    tokens = tokens_of(data.draw, schedule, total)
    if schedule.name == "step":
        falls = [share * (total - schedule.decay_tokens) for share in schedule.at]
        tokens += 10 * any(abs(tokens - fall) < 10 for fall in falls)
    assert lr(tokens + 1) == pytest.approx(lr(tokens), abs=6e-3 * schedule.lr_max)


@given(schedules(), st.data())
def test_falls_from_the_end_of_warm_up_on(case, data):
    schedule, total = case
    lr = schedule.bind(batch=ConstantBatch(batch_tokens=2**22), total_tokens=total)
    before, after = sorted(schedule.warmup_tokens + tokens_of(data.draw, schedule, total) for _ in range(2))
    assert lr(after) <= lr(before) * (1 + 1e-12)


class Stairs:
    """A batch that doubles every so many tokens."""

    def __init__(self, every: int) -> None:
        self.every = every

    def tokens_at(self, tokens: int) -> int:
        return 4096 << min(20, tokens // self.every)


@given(schedules(), st.integers(1, 10**13), st.data())
def test_the_same_for_equal_tokens_and_batch_whatever_batches_came_before(case, every, data):
    schedule, total = case
    batch, start = Stairs(every), total - schedule.decay_tokens
    changing = schedule.bind(batch=batch, total_tokens=total)
    tokens = tokens_of(data.draw, schedule, total)
    holds = min(
        max(tokens, schedule.warmup_tokens), start
    )  # the batch of N_w in warm-up, of N - N_d in the tail
    same = ConstantBatch(batch_tokens=batch.tokens_at(holds))
    assert changing(tokens) == schedule.bind(batch=same, total_tokens=total)(tokens)
    if not schedule.follows_batch:
        assert changing(tokens) == schedule.bind(batch=Stairs(1), total_tokens=total)(tokens)


@pytest.mark.parametrize("name", NAMES)
def test_at_the_edges(name):
    batch = ConstantBatch(batch_tokens=10**6)  # larger than the run
    without = made(name).bind(batch=batch, total_tokens=1000)
    assert without(0) == 0.01  # no warm-up
    assert without(500) > 0
    decaying = made(name, decay_tokens=1).bind(batch=batch, total_tokens=1000)
    assert decaying(1000) == 0 < decaying(999)
    touching = made(name, warmup_tokens=799, decay_tokens=1).bind(batch=batch, total_tokens=1000)
    assert touching(799) == pytest.approx(0.01) != touching(798)
    for options, sentence in (
        ({"decay_tokens": 1001}, "decay_tokens=1001 is longer than the run of 1000 tokens"),
        ({"warmup_tokens": 500, "decay_tokens": 501}, "overlap"),
        ({"decay_tokens": 500, "decay": "geometric"}, "never reaches decay_to=0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            made(name, **options).bind(batch=batch, total_tokens=1000)


@pytest.mark.parametrize("name", ["power", "wsd", "constant", "inverse_sqrt", "infinite"])
def test_where_no_length_is_needed(name):
    """Warm-up may meet a decay, take the whole run or outlast it."""
    batch = ConstantBatch(batch_tokens=2**30)
    meeting = made(name, warmup_tokens=400, decay_tokens=600)
    assert [meeting.bind(batch=batch, total_tokens=1000)(n) for n in (200, 400, 700, 1000)] == [
        0.005,
        0.01,
        0.005,
        0,
    ]
    unfinished = made(name, warmup_tokens=4000).bind(batch=batch, total_tokens=1000)
    assert [unfinished(n) for n in (0, 1000)] == [0, 0.0025]
    assert made(name).bind(batch=batch, total_tokens=10)(0) == made(name).bind(
        batch=batch, total_tokens=10**15
    )(0)
