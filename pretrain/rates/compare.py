"""The same run under other schedules, as `--compare` names them: `wsd,cosine:lr_max=0.01:lr_min=0.001`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from megatron_lite.schedules import registry
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.constant import Constant
from pretrain.config.document import parse
from pretrain.config.errors import describe
from pretrain.config.from_file import FromFile
from pretrain.config.load import parse_config
from pretrain.config.past import derived_of
from pretrain.config.plugins import load_plugins
from pretrain.config.schema import Config
from pretrain.errors import UserError, nearest

SYNTAX = "should be NAME or NAME:key=value, such as wsd:lr_max=0.01"
OPENING, CLOSING = "[{(", "]})"
SHARED = ("warmup_tokens", "lr_max", "lr_min")  # keys that mean the same in every schedule that has them
TAIL = ("decay_tokens", "decay", "decay_to")
LOOKED_AT = 20  # token counts at which a schedule is asked whether it knows the run's end


def under(config: Config, texts: Sequence[str]) -> Mapping[str, Config]:
    """The config under each schedule that is asked for, by the words that ask for it."""
    asked = [words.strip() for text in texts for words in _split(text, ",")]
    return {words: _replaced(config, words) for words in asked}


def _replaced(config: Config, words: str) -> Config:
    """A schedule that has an end of its own, such as cosine, does not get the run's tail behind it."""
    name, *settings = (part.strip() for part in _split(words, ":"))
    given = dict(_setting(words, text) for text in settings)
    _check_keys(words, _known(name, given), given)
    own = config.schedule
    if own.name == name:
        return _with_schedule(config, words, own.model_dump() | given)
    shared = {"name": name, **_taken(own, SHARED, name), **given}
    other = _with_schedule(config, words, shared)
    if not own.decay_tokens or _has_own_end(other):
        return other
    return _with_schedule(config, words, {**_taken(own, TAIL, name), **shared})


def _setting(words: str, text: str) -> tuple[str, Any]:
    """One `key=value`, the value in YAML as in an override."""
    key, equals, written = text.partition("=")
    if not equals:
        raise UserError(f"--compare: '{words}' {SYNTAX}")
    value, problems = parse(written)
    if problems:
        raise UserError(f"--compare {words}: {problems[0].text}")
    return key.strip(), value


def _known(name: str, given: Mapping[str, Any]) -> type[Schedule]:
    """The schedule of that name, of one's own if need be."""
    if name not in registry.names():
        load_plugins({"schedule": {"name": name, **given}})
    choices = registry.ByName().choices
    if name not in choices:
        known = ", ".join(sorted(choices))
        raise UserError(f"--compare: no schedule '{name}'; there are {known}.{nearest(name, choices)}")
    return choices[name]


def _check_keys(words: str, schedule: type[Schedule], given: Collection[str]) -> None:
    keys = [key for key in schedule.model_fields if key != "name"]
    for key in given:
        if key not in keys:
            found = nearest(key, keys) or f" Known here: {', '.join(keys)}."
            raise UserError(f"--compare {words}: unknown key '{key}'.{found}")


def _taken(own: Schedule, keys: Collection[str], name: str) -> dict[str, Any]:
    """What the run's own schedule says under keys that the other has too."""
    fields = registry.ByName().choices[name].model_fields
    return {key: value for key, value in own.model_dump(include=set(keys)).items() if key in fields}


def _has_own_end(config: Config) -> bool:
    """Whether the body falls towards the end of the run, or is one that nobody wants a tail behind."""
    schedule, tokens = config.schedule, derived_of(config).tokens
    places = [schedule.warmup_tokens + index * tokens // LOOKED_AT for index in range(LOOKED_AT)]
    bodies = [[schedule.body(n, config.batch.tokens, end) for n in places] for end in (tokens, 2 * tokens)]
    return bodies[0] != bodies[1] or isinstance(schedule, (Constant, FromFile))


def _with_schedule(config: Config, words: str, section: Mapping[str, Any]) -> Config:
    try:
        return parse_config(config.model_dump() | {"schedule": section})
    except ValidationError as error:
        lines = [
            line.removeprefix("schedule.").removeprefix("schedule: ") for line in describe(error, Config)
        ]
        missing = [str(detail["loc"][-1]) for detail in error.errors() if detail["type"] == "missing"]
        how = f"; say it as in {words}{''.join(f':{key}=VALUE' for key in missing)}" if missing else ""
        raise UserError(f"--compare {words}: {'; '.join(lines)}{how}") from error


def _split(text: str, separator: str) -> Iterator[str]:
    """`text` at every separator that stands outside of brackets."""
    depth, part = 0, ""
    for letter in text:
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == separator and depth == 0:
            yield part
            part = ""
        else:
            part += letter
    yield part
