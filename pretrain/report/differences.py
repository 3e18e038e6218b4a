"""Where the configs of several runs differ: one row a key, one column a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OF_NO_ACCOUNT = ("run.name", "run.root")
ABSENT = object()


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Keys as `section.key`, with list items by index, and each run's value; ABSENT where it has none."""
    flat = [dict(_flat(config)) for config in configs]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = {key: [one.get(key, ABSENT) for one in flat] for key in keys if key not in OF_NO_ACCOUNT}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items: Iterator[tuple[Any, Any]]
    if isinstance(value, Mapping) and value:
        items = iter(value.items())
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = iter(enumerate(value))
    else:
        yield path, value
        return
    for name, item in items:
        yield from _flat(item, f"{path}.{name}" if path else str(name))
