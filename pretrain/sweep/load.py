"""From a sweep file to typed options; overrides change the sweep itself or what all of its runs have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pretrain.config import document
from pretrain.config.errors import describe
from pretrain.config.load import SHIPPED, find, find_among
from pretrain.config.overrides import SYNTAX, apply
from pretrain.errors import UserError
from pretrain.sweep.options import SweepOptions

SWEEPS = SHIPPED / "sweeps"
WHOLE_KEYS = ("set", "grid")  # their own keys have points in them


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file, read."""

    options: SweepOptions
    base: str  # as the start script takes it

    @property
    def folder(self) -> Path:
        """Where everything of the sweep lies."""
        return Path(self.options.root).expanduser() / self.options.name


def names() -> list[str]:
    """The sweeps that travel with the project."""
    return sorted(file.stem for file in SWEEPS.glob("*.yaml"))


def find_sweep(name_or_path: str) -> Path:
    """The file meant by a path, or by the name of a shipped sweep."""
    return find_among(name_or_path, SWEEPS, "sweep")


def load_sweep(name_or_path: str, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep in a file; UserError names every problem."""
    file = find_sweep(name_or_path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    sections, found = document.parse(text)
    problems = [f"line {problem.line}: {problem.text}" for problem in found]
    if not problems and not isinstance(sections, dict):
        problems = [f"a sweep is a mapping of keys ({', '.join(SweepOptions.model_fields)})"]
    if not problems:
        sections, problems = overridden(sections, overrides)
    if not problems:
        try:
            options = SweepOptions.model_validate(sections)
            return Sweep(options=options, base=_base(options.base, file))
        except ValidationError as error:
            problems = describe(error, SweepOptions)
    raise UserError(f"{file}:\n" + "\n".join(f"  {problem}" for problem in problems))


def overridden(sections: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The document with overrides made: `budgets=[1M]` is the sweep's own, `model.x=1` is for all runs."""
    problems: list[str] = []
    for override in overrides:
        path, equals, text = override.partition("=")
        head, _, rest = path.strip().partition(".")
        if head in SweepOptions.model_fields and not (head in WHOLE_KEYS and rest):
            sections, wrong = apply(sections, [override])
            problems += wrong
            continue
        value, wrong_value = document.parse(text)
        key, owner = (rest, head) if head in WHOLE_KEYS else (path.strip(), "set")
        if not equals or "." not in key or wrong_value:
            problems.append(f"override '{override}': {SYNTAX}")
        elif owner == "set" and (taken := _varied(sections, key)):
            problems.append(f"override '{override}': {taken} varies {key}; change it there")
        else:
            sections = {**sections, owner: {**(sections.get(owner) or {}), key: value}}
    return sections, problems


def _varied(sections: dict[str, Any], key: str) -> str | None:
    if key in (sections.get("grid") or {}):
        return "grid"
    return "list" if any(key in item for item in sections.get("list") or ()) else None


def _base(name: str, file: Path) -> str:
    """A path from the sweep's own file comes before one from here, and both before a shipped config."""
    beside = file.parent / name
    return str(beside) if beside.is_file() else str(find(name))
