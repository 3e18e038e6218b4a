"""One line a problem: where, what stands there, what is allowed, and the nearest name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pretrain.config.places import Choice, Place, choice_at, find_place
from pretrain.errors import nearest

A_MAPPING = "should be a mapping of keys to values"
WORDS = {
    "model_type": A_MAPPING,
    "model_attributes_type": A_MAPPING,
    "dict_type": A_MAPPING,
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "too_short": "should have at least {min_length} item(s), not {actual_length}",
    "too_long": "should have at most {max_length} item(s), not {actual_length}",
    "literal_error": "should be {expected}",
    "string_too_short": "should not be empty",
    "string_pattern_mismatch": "should match {pattern}",
}
LONGEST_VALUE = 60


def describe(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """Every problem that pydantic found, in the config's own terms."""
    details = error.errors(include_url=False)
    return [line for detail in details if not _follows(detail, details) for line in _lines(detail, schema)]


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because its items are wrong: pydantic counts the right ones."""
    length = len(detail["loc"])
    inside = (other["loc"] for other in details if len(other["loc"]) > length)
    return detail["type"] == "too_short" and any(loc[:length] == detail["loc"] for loc in inside)


def _lines(detail: ErrorDetails, schema: type[BaseModel]) -> Iterator[str]:
    place, kind = find_place(schema, detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        yield _unknown_key(place, schema, detail["loc"][:-1])
    elif kind == "missing":
        meaning = place.field.description if place.field else None
        yield f"{place.path}: missing, and required" + (f" ({meaning})" if meaning else "")
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        choice = choice_at(place)
        assert choice is not None, place
        yield _wrong_choice(place, choice, detail["input"])
    else:
        for line in _wording(detail).split("\n"):
            yield _at(place, detail["input"]) + line + _nearest_literal(detail)


def _unknown_key(place: Place, schema: type[BaseModel], section: tuple[int | str, ...]) -> str:
    key, allowed = place.keys[-1], find_place(schema, section).allowed
    choice = choice_at(find_place(schema, section[:-1]))
    owners = [name for name, cls in choice.classes.items() if key in cls.model_fields] if choice else []
    if choice and owners:  # the last part of a section's location is then what was chosen
        whole = f"{'.'.join(place.keys[:-1])}={{{choice.key}: {section[-1]}, ...}}"
        return (
            f"{place.path}: a key of {owners[0]}, not of {section[-1]}; replace the whole section by {whole}"
        )
    found = nearest(key, allowed) or f" Known here: {', '.join(allowed)}."
    return f"{place.path}: unknown key '{key}'.{found}"


def _wrong_choice(place: Place, choice: Choice, section: Any) -> str:
    where, allowed = f"{place.path}.{choice.key}", f"one of {', '.join(choice.classes)}"
    given = section.get(choice.key) if isinstance(section, dict) else None
    if given is None:
        return f"{where}: missing, and required: {allowed}"
    return f"{where}: {_shown(given)}should be {allowed}.{nearest(str(given), choice.classes)}"


def _wording(detail: ErrorDetails) -> str:
    """What is wrong, without pydantic's own turns of phrase."""
    context = detail.get("ctx", {})
    if detail["type"] in ("value_error", "assertion_error"):
        return str(context["error"])
    if detail["type"] in WORDS:
        return WORDS[detail["type"]].format(**context)
    return detail["msg"].removeprefix("Input ")


def _nearest_literal(detail: ErrorDetails) -> str:
    if detail["type"] != "literal_error":
        return ""
    expected = str(detail["ctx"]["expected"]).replace(" or ", ", ")
    found = nearest(str(detail["input"]), [name.strip("'") for name in expected.split(", ")])
    return f".{found}" if found else ""


def _at(place: Place, value: Any) -> str:
    """`path: value `, or only the value for the config as a whole, or nothing."""
    is_combination = isinstance(value, (dict, BaseModel)) and bool(value)
    shown = "" if is_combination else _shown(value)
    return f"{place.path}: {shown}" if place.keys else shown


def _shown(value: Any) -> str:
    """A value with a space behind it, in a form that fits a line however large it is."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)} "
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return f"{text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + '...'} "
