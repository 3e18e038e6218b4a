"""The base of every options class: frozen, strict about names, exact about numbers.

Each part of the project declares its options beside the code that they control, as a subclass of
`Options` whose fields carry one line of meaning. The config schema is the sum of these classes.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

POWERS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
MAX_COUNT_DIGITS = 18  # whatever is counted fits into 64 bits


class Options(BaseModel):
    """A section of a config: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def parse_count(value: Any) -> int:
    """A count from `10.5B`, `300M`, `64K`, `1e9` or a whole number (powers of 1000).

    Raises ValueError for anything else, for fractions of one and for negative counts.
    """
    allowed = "a whole number such as 4096, 64K, 300M, 10.5B or 1e9"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"should be {allowed}")
    text = str(value).strip().replace("_", "")
    suffix = text[-1:].upper() if text[-1:].isalpha() else ""
    try:
        number = Decimal(text[: len(text) - len(suffix)]) * POWERS[suffix]
        # checked first: int() would spell out every digit of 1e999999999
        count = int(number) if number.adjusted() < MAX_COUNT_DIGITS else None
    except (ArithmeticError, KeyError, ValueError):
        raise ValueError(f"should be {allowed}") from None
    if count is None:
        raise ValueError(f"should have at most {MAX_COUNT_DIGITS} digits")
    if count != number:
        raise ValueError(f"should be {allowed}, not a fraction")
    if count < 0:
        raise ValueError("should not be negative")
    return count


def format_count(count: int) -> str:
    """A count for people: 10.5B, 300M, 64K, 512 (powers of 1000, four digits at most)."""
    for suffix in ("T", "B", "M", "K"):
        if abs(count) >= POWERS[suffix]:
            return f"{count / POWERS[suffix]:.4g}{suffix}"
    return str(count)


def _real(value: Any) -> float:
    """A finite number; YAML 1.1 reads `1e-3` as text, so text that is a number counts as one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("should be a number")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise ValueError("should be a number") from None
    if not math.isfinite(number):
        raise ValueError("should be a finite number")
    return number


Count = Annotated[int, BeforeValidator(parse_count)]
PositiveCount = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
Real = Annotated[float, BeforeValidator(_real)]
PositiveReal = Annotated[float, BeforeValidator(_real), Field(gt=0)]
NonNegativeReal = Annotated[float, BeforeValidator(_real), Field(ge=0)]
Share = Annotated[float, BeforeValidator(_real), Field(ge=0, le=1)]
