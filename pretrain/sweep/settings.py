"""The settings of a sweep: every item of its list with every combination of its grid."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pretrain.sweep.options import SweepOptions

MAX_LABEL = 120


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a trunk and its branches differ in from the others."""

    values: Mapping[str, Any]  # section.key -> value, in the order of the file

    @property
    def label(self) -> str:
        """A name for folders: short where it can be, and never that of another setting."""
        plain = "-".join(_labelled(key.rsplit(".", 1)[-1], value) for key, value in self.flat().items())
        clean = re.sub(r"[^A-Za-z0-9._-]", "_", plain)
        if clean == plain and 0 < len(plain) <= MAX_LABEL:
            return plain
        return f"{clean[:MAX_LABEL]}-{self.key}" if clean else "base"

    @property
    def key(self) -> str:
        """A short hash of the values."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:8]

    def flat(self) -> dict[str, Any]:
        """The values as columns: a section given whole is one column for each of its keys."""
        return dict(_flat("", self.values))

    def overrides(self) -> list[str]:
        """As the start script takes them."""
        return as_overrides(self.values)

    def replaced(self, key: str, value: Any) -> Setting:
        """Another value of one key."""
        return Setting(values={**self.values, key: value})

    def without(self, key: str) -> str:
        """What settings share that differ in this key alone."""
        return json.dumps({name: value for name, value in self.values.items() if name != key}, sort_keys=True)


def settings_of(sweep: SweepOptions) -> list[Setting]:
    """All settings that the file names, in its order."""
    found = []
    for item in sweep.list or ({},):
        for values in itertools.product(*sweep.grid.values()):
            found.append(Setting(values={**item, **dict(zip(sweep.grid, values, strict=True))}))
    unique = {json.dumps(setting.values, sort_keys=True): setting for setting in found}
    return list(unique.values())


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """section.key=value, each value as JSON, which is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _flat(above: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{above}{key}.", value)
        else:
            yield f"{above}{key}", value


def _labelled(key: str, value: Any) -> str:
    """Such as lr_max0.01; a name says by itself what it is of."""
    return f"{'' if key == 'name' else key}{_shown(value)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
