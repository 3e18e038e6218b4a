"""A staircase of one's own, and a registry that forgets it after each test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megatron_lite.schedules import registry
from pretrain.config import plugins
from pretrain.config.schema import Config

STAIRCASE = """
from __future__ import annotations
from typing import Literal
from pydantic import Field
from megatron_lite.options import PositiveCount, PositiveReal
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.registry import register

@register
class Staircase(Schedule):
    name: Literal["staircase"] = "staircase"
    lr_max: PositiveReal = Field(description="rate of the highest stair")
    stair_tokens: PositiveCount = 100_000

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        return self.lr_max / (1 + tokens // self.stair_tokens)
"""


@pytest.fixture
def staircase() -> str:
    """The source of a schedule of one's own."""
    return STAIRCASE


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Makes this process one that has just begun; done once already."""
    known = dict(registry._SCHEDULES)
    with pytest.MonkeyPatch.context() as patch:

        def begin_again() -> None:
            patch.setattr(registry, "_SCHEDULES", dict(known))
            patch.setattr(plugins, "_REGISTERED_BY", {})
            Config.model_rebuild(force=True)

        begin_again()
        yield begin_again
    Config.model_rebuild(force=True)


@pytest.fixture
def plugin(tmp_path: Path, forget: object) -> Path:
    """A file that registers it."""
    file = tmp_path / "my_schedules.py"
    file.write_text(STAIRCASE)
    return file
