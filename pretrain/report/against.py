"""What losses are compared over."""

from __future__ import annotations

from enum import StrEnum


class Against(StrEnum):
    """The quantity that was spent."""

    TOKENS = "tokens"
    FLOPS = "flops"
    SECONDS = "seconds"
