"""Every key of a config on one page of Markdown, from the schema.

python -m pretrain.config.reference docs/config.md
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import pretrain.config.load  # noqa: F401 registers the schedules that read files
from megatron_lite.options import format_count
from pretrain.config.places import Choice, Place, bare, choice_at, find_place, is_section
from pretrain.config.schema import Config

INTRODUCTION = """# Every key of a config

Made from the schema by `python -m pretrain.config.reference docs/config.md`; a test compares.
`section.key=value` behind the config's name overrides a key, a list's items by their index:
`stages.0.tokens=2M`. A whole number may be written `10.5B`, `300M`, `64K` or `1e9` (powers of 1000). What may
change when a run is continued: [continuing](continuing.md).
"""
# types that options share, by the hint that stands for them once `Annotated` is taken off
WORDS: Mapping[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text", Any: ""}


def reference() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for name, field in Config.model_fields.items():
        place = find_place(Config, [name])
        if name == "schema_version":
            continue
        parts.append(f"## {name}\n\n{_introduction(place, field)}")
        parts += _tables(_item(place))
    return "\n".join(parts)


def _introduction(place: Place, field: FieldInfo) -> str:
    needed = "Needed." if field.is_required() else "May be left out."
    cls = _section(place.kind)
    said = (cls.__doc__ or "").strip().splitlines()[0] if cls else ""
    if get_origin(bare(place.kind)) in (tuple, list):
        said = "A list, in this order."
    choice = choice_at(place)
    if choice:
        said = f"`{choice.key}` chooses: {', '.join(f'`{name}`' for name in choice.classes)}."
    return " ".join(part for part in (said, needed) if part) + "\n"


def _tables(place: Place) -> Iterator[str]:
    """The table of a section, and those of what lies in it."""
    choice = choice_at(place)
    if choice:
        yield from _of_choice(place.path, choice)
        return
    cls = _section(place.kind)
    if cls is None:
        return
    yield _table(cls.model_fields)
    for name in cls.model_fields:
        inner = find_place(cls, [name])
        yield from _inner(f"{place.path}.{name}", inner)


def _inner(path: str, inner: Place) -> Iterator[str]:
    """What a key holds that has keys of its own: a section, or a mapping or list of sections."""
    inner = _item(Place(keys=tuple(path.split(".")), kind=inner.kind))
    if choice_at(inner) or _section(inner.kind):
        yield f"### {inner.path}\n"
        yield from _tables(inner)


def _item(place: Place) -> Place:
    """What a mapping or a list holds; any other place is itself."""
    kind = bare(place.kind)
    if get_origin(kind) is dict:
        return Place(keys=(*place.keys, "NAME"), kind=get_args(kind)[1])
    if get_origin(kind) in (tuple, list):
        return Place(keys=(*place.keys, "0"), kind=get_args(kind)[0])
    return place


def _of_choice(path: str, choice: Choice) -> Iterator[str]:
    """A table of the keys that all choices have, then one for each of what it has beside them."""
    classes = list(dict.fromkeys(choice.classes.values()))
    shared = {
        name: field
        for name, field in classes[0].model_fields.items()
        if name != choice.key and len(classes) > 1 and all(name in cls.model_fields for cls in classes)
    }
    if shared:
        yield "For all, if nothing else is said:\n\n" + _table(shared)
    for cls in classes:
        names = ", ".join(f"`{name}`" for name, other in choice.classes.items() if other is cls)
        own = {
            name: field
            for name, field in cls.model_fields.items()
            if name != choice.key and not _same(field, shared.get(name))
        }
        said = (cls.__doc__ or "").strip().splitlines()[0]
        yield f"**{path}.{choice.key}: {names}** – {said}\n" + (f"\n{_table(own)}" if own else "")


def _same(field: FieldInfo, other: FieldInfo | None) -> bool:
    return other is not None and (field.description, field.default) == (other.description, other.default)


def _table(fields: Mapping[str, FieldInfo]) -> str:
    rows = [
        f"| `{name}` | {_kind(field)} | {_default(field)} | {_said(field)} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _kind(field: FieldInfo) -> str:
    said = _words(field.annotation)
    bounds = [text for item in field.metadata for text in _bounds(item)]
    return " ".join([said, *bounds]).strip()


def _words(kind: Any) -> str:
    """A type hint for people."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return " ".join([_words(inner), *(text for item in metadata for text in _bounds(item))])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{_plain(value)}`" for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(item) for item in get_args(kind)))
    if get_origin(kind) is dict:
        return f"name → {_words(get_args(kind)[1])}"
    if get_origin(kind) in (tuple, list):
        items = [item for item in get_args(kind) if item is not Ellipsis]
        return f"[{', '.join(map(_words, items))}]" if len(items) > 1 else f"list of {_words(items[0])}"
    if kind is type(None):
        return "null"
    return "section" if _section(kind) else WORDS.get(kind, "")


def _bounds(item: Any) -> Iterator[str]:
    if isinstance(item, FieldInfo):
        for inner in item.metadata:
            yield from _bounds(inner)
    for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
        bound = getattr(item, name, None)
        if bound is not None:
            yield f"{sign} {bound:g}" if isinstance(bound, float) else f"{sign} {bound}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return "see below" if isinstance(value, BaseModel) else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 10_000 and value % 1000 == 0:
        return format_count(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_plain, value))}]"
    return "null" if value is None else f"{value}"


def _said(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")


def _section(kind: Any) -> type[BaseModel] | None:
    kind = bare(kind)
    return kind if is_section(kind) else None


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
