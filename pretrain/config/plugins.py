"""Schedules of one's own: from a file that the config names, or from an installed package.

A file is `schedule.plugin`; a package has an entry point in the group `pretrain.schedules`, whose name is the
schedule's. Either registers a class with `megatron_lite.schedules.registry.register`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from pretrain.errors import UserError, nearest

GROUP = "pretrain.schedules"
_REGISTERED_BY: dict[str, list[str]] = {}  # a module that was executed -> the schedules in it


def load_plugins(sections: Mapping[str, Any]) -> None:
    """Make the schedule known that the raw sections of a config ask for; UserError where that fails.

    Sections that are wrong in any other way are left to the validation.
    """
    section = sections.get("schedule")
    file = section.get("plugin") if isinstance(section, Mapping) else None
    wanted = registry.name_in(section)
    if isinstance(file, str):
        _load_file(file, wanted)
    elif isinstance(wanted, str) and wanted not in registry.names():
        _load_packages(wanted)


def _load_file(name: str, wanted: Any) -> None:
    try:
        source = Path(os.path.expanduser(name)).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"schedule.plugin: cannot read '{name}' ({why})") from None
    found = _execute(name, source)
    if wanted not in found:
        registered = ", ".join(found) or "no schedule"
        raise UserError(
            f"schedule.plugin: {name} registers {registered}, and schedule.name is '{wanted}'."
            f"{nearest(str(wanted), found)}"
        )


def _execute(name: str, source: str) -> list[str]:
    """The schedules that a file registers; known by its text, so that it may be named twice, or moved."""
    module_name = f"pretrain_plugin_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if module_name not in _REGISTERED_BY:
        before = set(registry.names())
        module = ModuleType(module_name)
        module.__file__ = name
        sys.modules[module_name] = module  # where pydantic looks up the names in annotations
        try:
            exec(compile(source, name, "exec"), vars(module))
        except (Exception, SystemExit) as error:
            raise UserError(f"schedule.plugin: {_where(error, name)}: {_what(error)}") from error
        _REGISTERED_BY[module_name] = sorted(set(registry.names()) - before)
    return _REGISTERED_BY[module_name]


def _where(error: BaseException, name: str) -> str:
    """The file and the last of its lines that took part in an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    if isinstance(error, SyntaxError) and error.filename == name:
        lines.append(error.lineno)
    return f"{name}, line {lines[-1]}" if lines else name


def _what(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first, *_ = text.split("\n")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _load_packages(wanted: str) -> None:
    """Load the entry point of that name; if there is none all of them, so that the message can list them."""
    found = list(entry_points(group=GROUP))
    named = [point for point in found if point.name == wanted]
    for point, error in _failures(named or found):
        if named:
            raise UserError(f"schedule.name: '{wanted}' is {_described(point)}, and fails: {_what(error)}")
    if named and wanted not in registry.names():
        raise UserError(
            f"schedule.name: '{wanted}' is {_described(named[0])}, which registers no such schedule"
        )


def _failures(points: list[EntryPoint]) -> Iterator[tuple[EntryPoint, BaseException]]:
    """Load entry points; those that fail, with why. A class that is named counts as registered."""
    for point in points:
        try:
            found = point.load()
            if isinstance(found, type) and issubclass(found, Schedule):
                registry.register(found)
        except (Exception, SystemExit) as error:
            yield point, error


def _described(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name}" if point.dist else ""
    return f"the entry point {point.value}{package}"
