"""A checkpoint as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pretrain.monitor.words import printable, size

MAX_TEXT = 100  # of a value of the guard, such as counts of experts


def overview(facts: Mapping[str, Any]) -> Any:
    """Tables of where the run stood and what is held."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", title=Text(printable(facts["path"])), title_justify="left", show_header=False)
    for label, value in _rows(facts):
        table.add_row(label, Text(printable(value)))
    kinds = Table("parameter", "shape", *facts["parameters"])
    shapes = {name: shape for one in facts["parameters"].values() for name, shape in one["shapes"].items()}
    for name, shape in shapes.items():
        there = [_there(one["shapes"].get(name)) for one in facts["parameters"].values()]
        kinds.add_row(Text(printable(name)), " x ".join(map(str, shape)), *there)
    kinds.add_section()
    kinds.add_row("all", "", *(size(one["bytes"]) for one in facts["parameters"].values()))
    return Group(table, kinds)


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(key, f"{facts[key]:,}") for key in ("step", "tokens", "sequence") if facts[key] is not None]
    if facts["validation_loss"] is not None:
        rows.append(("validation loss", f"{facts['validation_loss']:.4f}"))
    numbers = [one["numbers"] for kind, one in facts["parameters"].items() if kind == "weight"]
    rows += [("parameters", f"{number:,}") for number in numbers]
    rows.append(("config", _short(facts["config_sha256"])))
    rows += [(f"data: {name}", _short(digest)) for name, digest in facts["fingerprint"].items()]
    rows += [(name, _cut(value)) for name, value in facts["guard"].items() if value is not None]
    rows += [(f"saved: {name}", str(value)) for name, value in (facts["saved"] or {}).items()]
    rows.append(("files", f"{len(facts['files'])}, {size(sum(facts['files'].values()))}"))
    rows.append(("sha256", _short(facts["sha256"])))
    return rows


def _there(shape: Any) -> str:
    return "" if shape is None else "yes"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "unknown"


def _cut(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
