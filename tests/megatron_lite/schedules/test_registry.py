"""Schedules by name: power where there is none, only its own keys, and one of one's own."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.linear import Linear
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.registry import ScheduleOptions
from megatron_lite.schedules.wsd import Wsd

BATCH = ConstantBatch(batch_tokens=8192)
SECTIONS = [
    {},
    {"name": "power", "exponent": -0.5},
    {"name": "wsd", "lr_max": 1, "decay_tokens": "10K", "decay": "square", "decay_to": 0.1},
    {"name": "cosine", "lr_max": 1, "lr_min": 0.1},
    {"name": "linear", "lr_max": 1},
    {"name": "constant", "lr_max": 1},
    {"name": "inverse_sqrt", "lr_max": 1, "timescale_tokens": "1M"},
    {"name": "infinite", "lr_max": 1, "lr_constant": 0.5, "cooldown_tokens": "1K"},
    {"name": "step", "lr_max": 1, "at": [0.5]},
    {"name": "power_law_optimised", "lr_max": 1},
]


@pytest.mark.parametrize("section", SECTIONS)
def test_chosen_by_name_and_back(section):
    adapter = TypeAdapter(ScheduleOptions)
    schedule = adapter.validate_python(section)
    assert schedule.name == section.get("name", "power")
    assert adapter.validate_python(adapter.dump_python(schedule)) == schedule
    assert adapter.validate_python(adapter.dump_python(schedule, mode="json")) == schedule


def test_all_of_them_are_tried_here():
    tried = {section.get("name", "power") for section in SECTIONS}
    assert {name for name in registry.names() if name != "from_file"} == tried  # that one reads files


def test_power_where_there_is_no_name():
    adapter = TypeAdapter(ScheduleOptions)
    assert adapter.validate_python({"lr_max": 1}) == Power(lr_max=1)
    assert adapter.validate_python(Linear(lr_max=1)) == Linear(lr_max=1)


def test_a_schedule_has_no_keys_of_another():
    with pytest.raises(ValidationError, match="amplitude"):
        TypeAdapter(ScheduleOptions).validate_python({"name": "wsd", "lr_max": 1, "amplitude": 4})


def test_only_power_follows_the_batch():
    assert Power.follows_batch
    assert not Wsd.follows_batch


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_SCHEDULES", dict(registry._SCHEDULES))


@pytest.mark.usefixtures("_own_registry")
def test_registering_one_of_ones_own():
    @registry.register
    class Staircase(Schedule):
        name: str = "staircase"

        def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
            return 1 / (1 + tokens // 100)

    assert registry.register(Staircase) is Staircase  # a second time is harmless
    section = {"name": "staircase", "warmup_tokens": 50, "decay_tokens": 500, "decay": "linear"}
    found = TypeAdapter(ScheduleOptions).validate_python(section)
    assert isinstance(found, Staircase)
    lr = found.bind(batch=BATCH, total_tokens=1000)
    assert [lr(n) for n in (0, 25, 50, 250, 500, 750, 1000)] == [0, 0.5, 1, 1 / 3, 1 / 6, 1 / 12, 0]


@pytest.mark.usefixtures("_own_registry")
def test_what_cannot_be_registered():
    class Imposter(Schedule):
        name: str = "power"

    class Nameless(Schedule):
        pass

    with pytest.raises(ValueError, match=r"'power' exists already: megatron_lite\.schedules\.power\.Power"):
        registry.register(Imposter)
    for other in (Nameless, int, 3):
        with pytest.raises(TypeError, match=r"needs `name: Literal|is not a class derived from Schedule"):
            registry.register(other)
