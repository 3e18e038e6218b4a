"""Values of configs and records as a person reads them on a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from megatron_lite.options import format_count
from pretrain.monitor.words import short


def tokens(count: float) -> str:
    """A count of tokens in a few digits: `1.2M`."""
    return short(count) if abs(count) >= 1000 else f"{count:.6g}"


def exact(count: float) -> str:
    """A round count in full: `1.25M`."""
    return format_count(round(count))


def figure(value: Any, digits: int = 4) -> str:
    """A measured number; the record writes NaN and infinity as null."""
    if value is None or value != value:
        return "not finite"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def moment(event: Mapping[str, Any]) -> str:
    """When an event was, in UTC, to the second."""
    try:
        return datetime.fromisoformat(str(event.get("time"))).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return "?"


def plain(value: Any) -> str:
    """A value of a config or an event in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10_000_000 else format_count(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
