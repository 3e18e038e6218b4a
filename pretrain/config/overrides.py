"""Overrides of a config from the command line: `section.key=value`, list items by index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pretrain.config.document import parse

MAX_DEPTH = 32
SYNTAX = "should be section.key=value, such as model.num_hidden_layers=2 or stages.0.tokens=2M"


def apply(document: Any, overrides: Sequence[str]) -> tuple[Any, list[str]]:
    """A copy of `document` with every override made, in order, and what was wrong with the others."""
    problems = []
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys) or len(keys) > MAX_DEPTH:
            problems.append(f"override '{override}': {SYNTAX}")
            continue
        value, wrong = parse(text)
        problems += [f"override '{override}': {problem.text}" for problem in wrong]
        if not wrong:
            try:
                document = _replaced(document, keys, value, "")
            except ValueError as error:
                problems.append(f"override '{override}': {error}")
    return document, problems


def _replaced(node: Any, keys: Sequence[str], value: Any, above: str) -> Any:
    """`node` with `value` at the end of `keys`; copies, since YAML anchors share nodes."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    here = f"{above}.{key}" if above else key
    if node is None:  # a section that was left out or left empty
        node = {}
    if isinstance(node, dict):
        return {**node, key: _replaced(node.get(key), rest, value, here)}
    if not isinstance(node, list):
        raise ValueError(f"{above} is {node!r:.60} and has no keys")
    if not re.fullmatch("[0-9]{1,9}", key) or int(key) >= len(node):
        allowed = f"items 0 to {len(node) - 1}" if node else "no items"
        raise ValueError(f"{above} is a list with {allowed}, not '{key}'")
    index = int(key)
    return [*node[:index], _replaced(node[index], rest, value, here), *node[index + 1 :]]
