"""A source in one word of a command line: a path, `python`, `hub:NAME:SPLIT:COLUMN` or `kind=jsonl,...`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pretrain.data.sources.files import SUFFIXES, find_files
from pretrain.data.sources.options import AnyText, ShardsSource, Source
from pretrain.errors import UserError, nearest

KEY = "--source"
SPLITS_AT = ","
FORMS = (
    "a file, folder or glob; python; hub:NAME[:SUBSET]:SPLIT:COLUMN; or kind=jsonl,path=FILES,column=NAME"
    " (kind: text, jsonl, parquet, hub, python; its other keys are those of a config)"
)


def parse_source(spec: str) -> AnyText:
    """The options that `spec` means."""
    if spec == "python":
        return _options({"kind": "python"})
    if spec.startswith("hub:"):
        return _options(_hub(spec))
    if spec.startswith("kind="):
        return _options(_keys(spec))
    return _options({"kind": _kind(spec), "path": spec})


def _hub(spec: str) -> dict[str, str]:
    names = spec.split(":")[1:]
    if len(names) not in (3, 4) or not all(names):
        raise UserError(f"{KEY}: '{spec}' should be hub:NAME:SPLIT:COLUMN or hub:NAME:SUBSET:SPLIT:COLUMN.")
    keys = ("name", "split", "column") if len(names) == 3 else ("name", "subset", "split", "column")
    return {"kind": "hub"} | dict(zip(keys, names, strict=True))


def _keys(spec: str) -> dict[str, str]:
    values = {}
    for pair in spec.split(SPLITS_AT):
        name, equals, value = pair.partition("=")
        if not equals or name in values:
            raise UserError(f"{KEY}: in '{spec}', '{pair}' should be one more KEY=VALUE.")
        values[name] = value
    return values


def _kind(path: str) -> str:
    """What the names of the files say that they are; files of several kinds have to be told apart by hand."""
    suffixes = tuple(suffix for kind in SUFFIXES.values() for suffix in kind)
    files = find_files(KEY, path, suffixes)
    kinds = Counter(map(_kind_of, (file.name for file in files)))
    if len(kinds) > 1:
        found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        raise UserError(f"{KEY}: '{path}' holds files of several kinds: {found}. Say kind=...,path={path}.")
    return next(iter(kinds))


def _kind_of(name: str) -> str:
    for kind in ("jsonl", "parquet"):
        if name.endswith(SUFFIXES[kind]):
            return kind
    return "text"


def _options(values: dict[str, Any]) -> AnyText:
    try:
        options = TypeAdapter(Source).validate_python(values)
    except ValidationError as error:
        raise UserError(f"{KEY}: {_problem(values, error)} Allowed: {FORMS}.") from None
    if isinstance(options, ShardsSource):
        raise UserError(f"{KEY}: shards are there already; a config uses them with kind: shards.")
    return options


def _problem(values: dict[str, Any], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "kind"
    if first["type"] == "extra_forbidden":
        return f"'{name}' is no key of kind {values['kind']}."
    if first["type"] == "union_tag_invalid":
        return f"'{values['kind']}' is no kind of source.{nearest(values['kind'], _kinds())}"
    return f"{name}: {first['msg']}."


def _kinds() -> Iterable[str]:
    return (*SUFFIXES, "python", "hub")


def absolute(options: AnyText) -> AnyText:
    """The same source whatever the folder that a command runs in."""
    path = getattr(options, "path", None)
    return options.model_copy(update={"path": os.path.abspath(Path(path).expanduser())}) if path else options
