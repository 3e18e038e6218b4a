"""YAML without its surprises: keys are text and unique, `off` and dates are text, `1e-3` is a number.

PyYAML follows YAML 1.1; this reads the core schema of YAML 1.2, with anchors and merge keys, and keeps on
after a duplicate key so that every problem of a file is known at once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    "merge": (r"<<", "<"),
}
TAG = "tag:yaml.org,2002:"
NODES = {TAG + "map": yaml.MappingNode, TAG + "seq": yaml.SequenceNode}  # every other tag is a scalar's
MAX_DIGITS = 100  # of a number: more is no number that anyone means, and slow or refused by int()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a document, at a line counted from 1."""

    line: int
    text: str


class _Loader(yaml.SafeLoader):
    """Builds plain values and collects problems."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self._check_keys(node)
        self.flatten_mapping(node)
        items = ((key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
        return {key.value: self.construct_object(value, deep=True) for key, value in items}

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return [self.construct_object(item, deep=True) for item in node.value]

    def text(self, node: yaml.ScalarNode) -> str:
        return str(self.construct_scalar(node))

    def number(self, node: yaml.ScalarNode) -> int | float:
        is_int = node.tag == TAG + "int"
        try:
            if len(node.value) <= MAX_DIGITS and math.isfinite(float(node.value)):
                return int(node.value) if is_int else float(node.value)
        except ValueError:
            pass
        self._problem(node, f"'{node.value[:MAX_DIGITS]}' is not a number that can be meant")
        return 0

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, NODES.get(node.tag, yaml.ScalarNode)):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.tag} does not fit here", node.start_mark
            )
        return super().construct_object(node, deep=deep)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, "a key should be text, not a list or a mapping")
            elif key.value in seen and key.tag != TAG + "merge":
                self._problem(key, f"the key '{key.value}' stands here a second time")
            else:
                seen.add(key.value)

    def _problem(self, node: yaml.Node, text: str) -> None:
        self.problems.append(Problem(line=node.start_mark.line + 1, text=text))


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader`, or a reader of YAML 1.1, would take for something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        breaks = any(character in data for character in "\x85\u2028\u2029")  # lost in any other style
        return self.represent_scalar(TAG + "str", data, style='"' if breaks else None)


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
_Loader.yaml_constructors = {None: _Loader.construct_undefined}  # refuses any tag but those below
for _name, (_pattern, _first) in SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            TAG + _name,
            re.compile(f"^(?:{_pattern})$"),
            ["" if c == "\0" else c for c in _first],
        )
_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.add_constructor(TAG + "null", lambda loader, node: None)
_Loader.add_constructor(TAG + "bool", lambda loader, node: node.value.lower() == "true")
_Loader.add_constructor(TAG + "int", _Loader.number)
_Loader.add_constructor(TAG + "float", _Loader.number)
_Loader.add_constructor(TAG + "str", _Loader.text)
_Loader.add_constructor(TAG + "seq", _Loader.sequence)
_Loader.add_constructor(TAG + "map", _Loader.mapping)


def parse(text: str) -> tuple[Any, list[Problem]]:
    """The value of a YAML text and what is wrong with it; after a syntax error the value is None."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except RecursionError:
        return None, [Problem(line=1, text="nested too deeply")]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        return None, [Problem(line=mark.line + 1 if mark else 1, text=f"not YAML: {words}")]
    except yaml.YAMLError as error:
        return None, [Problem(line=1, text="not YAML: " + " ".join(str(error).split()))]
    return value, loader.problems


def write(value: Any) -> str:
    """YAML that `parse` reads back as an equal value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
