"""A schedule of one's own from a file that the config names: used, validated, and refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from pretrain.config.derive import derive
from pretrain.config.document import parse
from pretrain.config.load import dump, load, parse_config
from pretrain.errors import UserError

pytestmark = pytest.mark.usefixtures("forget")


def section(file: object, rest: str = "name: staircase, lr_max: 0.01") -> str:
    return f"schedule={{plugin: {file}, {rest}}}"


def problems(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load("tiny_moe", overrides)
    return [line.strip() for line in str(caught.value).split("\n")[1:]]


def test_a_file_of_ones_own(plugin):
    lr = derive(load("tiny_moe", [section(plugin), "schedule.warmup_tokens=50K"])).lr
    assert [lr(n) for n in (0, 25_000, 50_000, 100_000, 250_000)] == [0, 0.005, 0.01, 0.005, 0.01 / 3]


def test_the_example_of_the_page_is_one(plugin):
    page = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    plugin.write_text(example)
    lr = derive(load("tiny_moe", [section(plugin)])).lr
    assert [lr(n) for n in (0, 100_000, 250_000)] == [0.01, 0.005, 0.01 / 3]


def test_naming_it_twice_is_harmless_and_so_is_moving_it(plugin, staircase, tmp_path):
    config = load("tiny_moe", [section(plugin)])
    assert load("tiny_moe", [section(plugin)]) == config
    moved = tmp_path / "moved.py"
    moved.write_text(staircase)
    assert type(load("tiny_moe", [section(moved)]).schedule) is type(config.schedule)


def test_a_saved_config_loads_it_again(plugin, forget):
    config = load("tiny_moe", [section(plugin)])
    values = config.model_dump()
    written, saved = dump(config), json.dumps(config.model_dump(mode="json"))
    for sections in (parse(written)[0], json.loads(saved)):
        forget()
        again = parse_config(sections)
        assert again.model_dump() == values
        assert derive(again).lr(250_000) == 0.01 / 3


def test_its_options_are_validated_like_ours(plugin):
    assert problems(section(plugin, "name: staircase, lr_maxx: 1, stair_tokens: -5")) == [
        "schedule.lr_max: missing, and required (rate of the highest stair)",
        "schedule.stair_tokens: -5 should not be negative",
        "schedule.lr_maxx: unknown key 'lr_maxx'. Did you mean 'lr_max'?",
    ]
    (problem,) = problems(section(plugin, "name: staircase, lr_max: 1, amplitude: 4"))
    assert problem.startswith("schedule.amplitude: a key of power, not of staircase")
    (problem,) = problems(section(plugin), "schedule.decay_tokens=1B")
    assert problem.startswith("schedule: decay_tokens=1000000000 is longer than the run")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("name: staircas", "'staircas'. Did you mean 'staircase'?"),
        ("name: cosine", "'cosine'."),
        ("lr_max: 1", "'power'."),
    ],
)
def test_a_file_that_does_not_register_the_name(plugin, name, answer):
    expected = f"schedule.plugin: {plugin} registers staircase, and schedule.name is {answer}"
    assert problems(section(plugin, name)) == [expected]


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("x = 1\n", " registers no schedule, and schedule.name is 'staircase'."),
        ("\nx = (1\n", ", line 2: SyntaxError: '(' was never closed"),
        (
            "import sys\n\ndef f():\n    return 1 / 0\n\nf()\n",
            ", line 4: ZeroDivisionError: division by zero",
        ),
        ("import no_such_module\n", ", line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit\n", ", line 1: SystemExit"),
    ],
)
def test_a_file_that_fails(tmp_path, source, answer):
    file = tmp_path / "wrong.py"
    file.write_text(source)
    (problem,) = problems(section(file))
    assert problem.startswith(f"schedule.plugin: {file}{answer}")


@pytest.mark.parametrize(
    ("right", "wrong", "answer"),
    [
        (
            '"staircase"',
            '"wsd"',
            "ValueError: a schedule named 'wsd' exists already: megatron_lite.schedules",
        ),
        (
            ' = "staircase"',
            "",
            "TypeError: Staircase needs `name: Literal[...]` with that name as its default",
        ),
        ("Literal[", "Litteral[", "PydanticUndefinedAnnotation: name 'Litteral' is not defined"),
    ],
)
def test_a_class_that_is_no_schedule_of_ours(plugin, staircase, right, wrong, answer):
    plugin.write_text(staircase.replace(right, wrong))
    (problem,) = problems(section(plugin))
    assert problem.startswith(f"schedule.plugin: {plugin}, line 9: {answer}")


def test_a_file_that_cannot_be_read(tmp_path):
    missing = tmp_path / "missing.py"
    (problem,) = problems(section(missing))
    assert problem == f"schedule.plugin: cannot read '{missing}' (No such file or directory)"
    assert problems("schedule.plugin=3") == ["schedule.plugin: 3 should be text"]


def test_a_schedule_registered_by_a_program_of_ones_own():
    """After the schema was built, as in a script that imports us first."""

    @registry.register
    class Flat(Schedule):
        name: str = "flat"

        def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
            return 0.5

    assert derive(load("tiny_moe", ["schedule={name: flat}"])).lr(9) == 0.5
