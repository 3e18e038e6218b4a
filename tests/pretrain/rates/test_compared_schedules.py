"""Other schedules on the same run: what they take from the config's own, and what they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_lite.schedules import registry
from pretrain.config import plugins
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.rates.compare import under
from pretrain.rates.rates import rates_of

POWER = load("3b_moe")
TAIL = {"decay_tokens": 500_000_000_000, "decay": "exponential", "decay_to": 0.0}


def only(words: str, *overrides: str):
    """The schedule that is compared with 3b_moe's own."""
    (config,) = under(load("3b_moe", overrides), [words]).values()
    return config.schedule


def test_nothing_but_the_schedule_changes() -> None:
    (other,) = under(POWER, ["wsd"]).values()
    assert other.model_dump(exclude={"schedule"}) == POWER.model_dump(exclude={"schedule"})
    assert other.schedule.name == "wsd"


@pytest.mark.parametrize("name", ["wsd", "inverse_sqrt", "infinite:lr_constant=0.01:cooldown_tokens=1T"])
def test_a_schedule_without_an_end_gets_the_runs_tail(name: str) -> None:
    schedule = only(name)
    assert schedule.model_dump(include=set(TAIL)) == TAIL
    assert (schedule.warmup_tokens, schedule.lr_max) == (10_500_000_000, 0.02)


@pytest.mark.parametrize("name", ["cosine", "linear", "step", "power_law_optimised", "constant"])
def test_a_schedule_with_an_end_of_its_own_gets_none(name: str) -> None:
    schedule = only(name)
    assert schedule.decay_tokens == 0
    assert (schedule.warmup_tokens, schedule.lr_max) == (10_500_000_000, 0.02)


def test_a_table_is_taken_as_it_stands() -> None:
    schedule = only("from_file:points=[[0, 0.01], [1T, 0.001]]")
    assert schedule.decay_tokens == 0
    assert schedule.points == ((0, 0.01), (10**12, 0.001))


def test_a_key_that_only_sounds_the_same_is_not_taken() -> None:
    """power's exponent is -0.51, that of power_law_optimised the shape of its fall."""
    assert only("power_law_optimised").exponent == 1.5


def test_the_same_schedule_with_another_key_keeps_all_others() -> None:
    own = POWER.schedule.model_dump()
    assert only("power:amplitude=4.6").model_dump() == own | {"amplitude": 4.6}
    tail = only("power:decay=geometric:decay_to=0.01")
    assert tail.model_dump() == own | {"decay": "geometric", "decay_to": 0.01}


def test_what_is_given_wins() -> None:
    schedule = only("wsd:decay=linear:warmup_tokens=0:lr_max=1e-3")
    assert (schedule.decay, schedule.warmup_tokens, schedule.lr_max) == ("linear", 0, 1e-3)
    assert schedule.decay_tokens == TAIL["decay_tokens"]
    assert only("cosine:decay_tokens=100B:lr_min=0.001").decay_tokens == 100_000_000_000


def test_options_may_hold_commas_and_colons_in_brackets() -> None:
    asked = under(POWER, ["step:at=[0.5, 0.6]:factor=0.5,wsd", " linear "])
    assert list(asked) == ["step:at=[0.5, 0.6]:factor=0.5", "wsd", "linear"]
    assert asked["step:at=[0.5, 0.6]:factor=0.5"].schedule.at == (0.5, 0.6)


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What is registered within is unknown afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_SCHEDULES", dict(registry._SCHEDULES))
        patch.setattr(plugins, "_REGISTERED_BY", {})
        yield
    Config.model_rebuild(force=True)


def test_a_schedule_of_ones_own_can_be_compared_with(tmp_path: Path, forgetful: None) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from typing import Literal\n"
        "from pydantic import Field\n"
        "from megatron_lite.schedules.base import Schedule\n"
        "from megatron_lite.schedules.registry import register\n"
        "@register\n"
        "class Rising(Schedule):\n"
        '    name: Literal["rising"] = Field("rising")\n'
        "    def body(self, tokens, batch_tokens, end_tokens):\n"
        "        return tokens / end_tokens\n"
    )
    words = f"rising:plugin={file}"
    rates = rates_of(POWER, compare=[words])
    assert rates.at(10**12).compare[words] == 10**12 / rates.last


def test_what_cannot_be_with_this_batch_is_refused_as_in_a_config() -> None:
    overrides = ("schedule={name: wsd, lr_max: 0.01}", "batch.schedule={name: seesaw, max_sequences: 4096}")
    with pytest.raises(UserError, match=r"^--compare power: .*seesaw"):
        under(load("3b_moe", overrides), ["power"])


def test_lines_are_told_apart_by_name_and_groups_of_one_ratio_share_one() -> None:
    rates = rates_of(POWER, with_groups=True, compare=["wsd", "power"])
    labels = [line.label for line in rates.lines()]
    assert labels == ["power, this run", "hidden, router (x 0.1667)", "wsd", "power"]
    own, groups, _, same = (line.value for line in rates.lines())
    for count in range(0, rates.last, rates.last // 50):
        assert own(count) == same(count) == pytest.approx(6 * groups(count))
