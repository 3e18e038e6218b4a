"""The schedules that a config can choose by name."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.constant import Constant
from megatron_lite.schedules.cosine import Cosine
from megatron_lite.schedules.infinite import Infinite
from megatron_lite.schedules.inverse_sqrt import InverseSqrt
from megatron_lite.schedules.linear import Linear
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.power_law_optimised import PowerLawOptimised
from megatron_lite.schedules.step import Step
from megatron_lite.schedules.wsd import Wsd

DEFAULT = "power"  # what a section without `name` means
S = TypeVar("S", bound=Schedule)
_SCHEDULES: dict[str, type[Schedule]] = {}


def register(cls: type[S]) -> type[S]:
    """Makes a schedule known under the default of its `name`; a decorator, harmless a second time."""
    if not (isinstance(cls, type) and issubclass(cls, Schedule)):
        raise TypeError(f"{cls!r} is not a class derived from Schedule")
    cls.model_rebuild()  # a name in its annotations that is not defined shows here, not in a later config
    name = cls.model_fields["name"].default
    if not isinstance(name, str):
        raise TypeError(f"{cls.__name__} needs `name: Literal[...]` with that name as its default")
    if _SCHEDULES.setdefault(name, cls) is not cls:
        there = _SCHEDULES[name]
        raise ValueError(f"a schedule named '{name}' exists already: {there.__module__}.{there.__name__}")
    return cls


for _schedule in (Power, Wsd, Cosine, Linear, Constant, InverseSqrt, Infinite, Step, PowerLawOptimised):
    register(_schedule)


def names() -> list[str]:
    """All known schedules."""
    return sorted(_SCHEDULES)


def name_in(section: Any) -> Any:
    """The name in a section, typed or not; not a section at all counts as the default and fails there."""
    if isinstance(section, Schedule):
        return section.name
    return section.get("name", DEFAULT) if isinstance(section, dict) else DEFAULT


class ByName:
    """Validates a section as the schedule that its `name` chooses: only that one's keys are allowed."""

    @property
    def choices(self) -> dict[str, type[Schedule]]:
        """What can be chosen, by name."""
        return dict(_SCHEDULES)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A tagged union of whatever is registered when the schema is built."""
        choices = {name: handler.generate_schema(cls) for name, cls in self.choices.items()}
        return core_schema.tagged_union_schema(choices, discriminator=name_in)


ScheduleOptions = Annotated[Schedule, ByName()]
