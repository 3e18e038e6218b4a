"""What the laws' commands are asked for, from texts: counts, a schedule, options that exclude each other."""

from __future__ import annotations

from pydantic import ValidationError

import pretrain.config.from_file  # noqa: F401  # a schedule that registers itself
from megatron_lite.options import Options, parse_count
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.registry import ScheduleOptions
from pretrain.config.document import parse
from pretrain.config.errors import describe
from pretrain.config.plugins import load_plugins
from pretrain.errors import UserError


def needed(option: str, text: str | None) -> str:
    """What was given, or a UserError that names the option."""
    if text is None:
        raise UserError(f"{option} is missing")
    return text


def forbid(beside: str, **given: object) -> None:
    """UserError where options were given that mean nothing beside another."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} means nothing with {beside}")


def count(option: str, text: str) -> int:
    """A positive count such as 10.5B."""
    try:
        number = parse_count(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if not number:
        raise UserError(f"{option} {text}: should be above 0")
    return number


def schedule_in(text: str) -> Schedule:
    """The schedule that a section in YAML describes."""

    class Asked(Options):
        schedule: ScheduleOptions

    section, problems = parse(text)
    if problems:
        raise UserError(f"--schedule: {problems[0].text}")
    if not isinstance(section, dict):
        raise UserError(f"--schedule: should be like '{{name: wsd, lr_max: 0.01}}', not '{text}'")
    load_plugins({"schedule": section})
    try:
        return Asked.model_validate({"schedule": section}).schedule
    except ValidationError as error:
        raise UserError("; ".join(describe(error, Asked))) from error
