"""What the schema allows at a place: follows pydantic's error locations through the options classes."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from megatron_lite.schedules.registry import ByName


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A section whose class is chosen by one of its own keys."""

    key: str
    classes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point of the config: the keys that lead to it and what may stand there."""

    keys: tuple[str, ...]
    kind: Any  # a type hint, or None where the schema does not say
    field: FieldInfo | None = None

    @property
    def path(self) -> str:
        """As a user writes it in an override."""
        return ".".join(self.keys)

    @property
    def allowed(self) -> list[str]:
        """The keys that are known here, if it is a section."""
        kind = bare(self.kind)
        return list(kind.model_fields) if is_section(kind) else []


def find_place(schema: type[BaseModel], location: Sequence[int | str]) -> Place:
    """The place that pydantic means by `location`; the tags of unions in it are no keys of the config."""
    place = Place(keys=(), kind=schema)
    for part in location:
        place = _step(place, part)
    return place


def choice_at(place: Place) -> Choice | None:
    """The choice that is made at a place, if there is one."""
    if get_origin(place.kind) is not Annotated:
        return None
    kind, *metadata = get_args(place.kind)
    for item in metadata:
        if isinstance(item, ByName):
            return Choice(key="name", classes=item.choices)
        key = getattr(item, "discriminator", None)
        if isinstance(key, str):
            return Choice(key=key, classes=_classes_by(key, kind))
    return None


def _step(place: Place, part: int | str) -> Place:
    choice = choice_at(place)
    if choice:
        return Place(keys=place.keys, kind=choice.classes.get(str(part)), field=place.field)
    if part == "[key]":
        return place
    keys = (*place.keys, str(part))
    kind = bare(place.kind)
    if is_section(kind):
        field = kind.model_fields.get(str(part))
        return Place(keys=keys, kind=_hint(field), field=field)
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return Place(keys=keys, kind=arguments[1])
    if get_origin(kind) in (tuple, list):
        return Place(keys=keys, kind=arguments[0])
    return Place(keys=keys, kind=None)


def _hint(field: FieldInfo | None) -> Any:
    """A field's type hint; what chooses among classes stays with it."""
    if field is None:
        return None
    kept = [item for item in (*field.metadata, field) if isinstance(item, ByName) or _discriminates(item)]
    return Annotated[(field.annotation, *kept)] if kept else field.annotation


def bare(kind: Any) -> Any:
    """A type hint without Annotated and without `| None`."""
    if get_origin(kind) is Annotated:
        return bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        others = [item for item in get_args(kind) if item is not type(None)]
        return bare(others[0]) if len(others) == 1 else kind
    return kind


def _classes_by(key: str, union: Any) -> dict[str, Any]:
    """The members of a union by the values that `key` may have in each."""
    members = get_args(union) or (union,)
    return {tag: cls for cls in members for tag in get_args(cls.model_fields[key].annotation)}


def _discriminates(item: Any) -> bool:
    return isinstance(getattr(item, "discriminator", None), str)


def is_section(kind: Any) -> bool:
    """Whether a bare hint is a class of options."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
