"""Files of `pretrain evaluate`, as far as they are whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain.report.columns import Line


def read_results(path: Path) -> tuple[Line, list[str]]:
    """The content of a file with the tasks that are whole, and the names of those that are not.

    Raises OSError, ValueError, KeyError or TypeError where the file is another one.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found["tasks"], dict):
        raise TypeError("tasks should be an object")
    for key in ("step", "tokens"):
        if not isinstance(found.get(key), int | None):
            raise TypeError(f"{key} should be a whole number")
    damaged = [name for name, task in found["tasks"].items() if not _is_whole(task)]
    tasks = {name: task for name, task in found["tasks"].items() if name not in damaged}
    return found | {"tasks": tasks}, damaged


def _is_whole(task: Any) -> bool:
    """Whether a task's metrics, their chief and its shots are of the kinds that are written."""
    return (
        isinstance(task, Mapping)
        and isinstance(task.get("metrics"), Mapping)
        and isinstance(task.get("main"), str | None)
        and isinstance(task.get("num_fewshot"), int | None)
    )
