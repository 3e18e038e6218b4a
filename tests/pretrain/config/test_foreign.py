"""Schedules of one's own that go wrong, early or late: a sentence with file and line, and no update."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.config.derive import derive
from pretrain.config.load import load
from pretrain.errors import UserError

PLUGIN = """
from typing import Literal

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.registry import register


@register
class Own(Schedule):
    name: Literal["{name}"] = "{name}"

    {members}
"""
LATE = """def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        return {value} if 800_000 < tokens < 810_000 else 0.01"""
NUMBER = iter(range(10**6))


def overrides(folder: Path, members: str) -> list[str]:
    """A config whose schedule has these members, under a name that no other test took."""
    name = f"own_{next(NUMBER)}"
    file = folder / f"{name}.py"
    file.write_text(PLUGIN.format(name=name, members=members))
    return [f"schedule={{name: {name}, plugin: {file}}}"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("-0.001", r"gives -0.001 at \d+ tokens; a learning rate is a number, 0 or more"),
        ("float('nan')", r"gives nan at \d+ tokens"),
        ("float('inf')", r"gives inf at \d+ tokens"),
        ("'x'", r"gives 'x' at \d+ tokens"),
        ("True", r"gives True at \d+ tokens"),
        ("None", r"gives None at \d+ tokens"),
        ("1 / 0", r"fails at \d+ tokens with ZeroDivisionError: division by zero \(.*own_\d+.py, line 13\)"),
        ("exit(0)", r"fails at \d+ tokens with SystemExit: 0"),
    ],
)
def test_a_rate_that_is_none_late_in_the_run_is_found_before_it_begins(
    tmp_path: Path, value: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        load("tiny_moe", overrides(tmp_path, LATE.format(value=value)))


def test_a_rate_that_no_update_asks_for_may_be_wrong_but_is_never_given(tmp_path: Path) -> None:
    late = LATE.format(value="-1.0").replace("800_000 < tokens < 810_000", "tokens == 800_001")
    run = derive(load("tiny_moe", overrides(tmp_path, late)))
    assert run.lr(800_000) == 0.01
    with pytest.raises(UserError, match=r"gives -1\.0 at 800001 tokens"):
        run.lr(800_001)


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ("def body(self, tokens: int) -> float:\n        return 0.01", "fails with TypeError: .*arguments"),
        ("lr_max: float = 1.0", "fails with NotImplementedError"),
        (
            "def check(self, total_tokens: int) -> None:\n        raise KeyError(total_tokens)",
            "fails with KeyError: 1204224",
        ),
    ],
)
def test_a_class_that_cannot_be_bound(tmp_path: Path, members: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load("tiny_moe", overrides(tmp_path, members))
