"""From a name or a path to a typed config; whatever is wrong is one message with a line a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import pretrain.config.from_file  # noqa: F401  # a schedule that registers itself
from megatron_lite.schedules import registry
from pretrain.config import document
from pretrain.config.errors import describe
from pretrain.config.overrides import apply
from pretrain.config.plugins import load_plugins
from pretrain.config.schema import Config
from pretrain.errors import UserError, nearest

PACKAGE = Path(__file__).parents[1]
INSTALLED = PACKAGE / "configs"
SHIPPED = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "configs"  # the latter in a checkout


def names() -> list[str]:
    """The configs that travel with the project."""
    return sorted(file.stem for file in SHIPPED.glob("*.yaml"))


def find(name_or_path: str) -> Path:
    """The file meant by a path, or by the name of a shipped config with or without `.yaml`."""
    return find_among(name_or_path, SHIPPED, "config")


def find_among(name_or_path: str, folder: Path, what: str) -> Path:
    """The file meant by a path, or by the name of one in `folder`; UserError names those that are there."""
    name, known = name_or_path.removesuffix(".yaml"), sorted(file.stem for file in folder.glob("*.yaml"))
    for file in (Path(name_or_path), folder / f"{name}.yaml"):
        if file.is_file():
            return file
    raise UserError(
        f"no {what} '{name_or_path}': neither a file nor one of {', '.join(known)}.{nearest(name, known)}"
    )


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The config in a file, with overrides `section.key=value` made; UserError names every problem."""
    file = find(name_or_path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    sections, found = document.parse(text)
    problems = [f"{file}, line {problem.line}: {problem.text}" for problem in found]
    if problems and sections is None:
        raise UserError(_message(file, problems))
    if sections is not None and not isinstance(sections, dict):
        known = ", ".join(Config.model_fields)
        raise UserError(
            _message(file, [f"a config is a mapping of sections ({known}), not {sections!r:.60}"])
        )
    sections, wrong = apply(sections or {}, overrides)
    problems += wrong
    try:
        config = parse_config(sections)
    except ValidationError as error:
        problems += describe(error, Config)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError(_message(file, problems))
    return config


def parse_config(sections: Mapping[str, Any]) -> Config:
    """Raw sections as a config, with the schedule of one's own that they may ask for.

    Raises UserError where that schedule cannot be loaded, ValidationError where the sections are wrong.
    """
    load_plugins(sections)
    try:
        return Config.model_validate(sections)
    except ValidationError as error:
        if not _registered_since(error):
            raise
    Config.model_rebuild(force=True)
    return Config.model_validate(sections)


def _registered_since(error: ValidationError) -> bool:
    """Whether the schedule was unknown only because the schema is older than its registration."""
    return any(
        detail["type"] == "union_tag_invalid"
        and detail["loc"] == ("schedule",)
        and detail["ctx"]["tag"] in registry.names()
        for detail in error.errors(include_url=False)
    )


def dump(config: Config) -> str:
    """The resolved config as YAML; loads again to an equal config."""
    return document.write(config.model_dump())


def _message(file: Path, problems: Sequence[str]) -> str:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{file} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems)
