"""Counts of the command line: tokens and parameters as people write them."""

from __future__ import annotations

from megatron_lite.options import parse_count
from pretrain.errors import UserError


def count(option: str, text: str) -> float:
    """A count above 0, or a UserError that names the option."""
    try:
        value = parse_count(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if value == 0:
        raise UserError(f"{option} {text}: should be above 0")
    return float(value)


def count_or_none(option: str, text: str | None) -> float | None:
    """The same for an option that may be left out."""
    return None if text is None else count(option, text)


def pair(option: str, text: str) -> tuple[float, float]:
    """Two counts with a colon between them, such as 7B:2T."""
    first, colon, second = text.partition(":")
    if not colon:
        raise UserError(f"{option} {text}: should be parameters and tokens, such as 7B:2T")
    return count(option, first), count(option, second)
