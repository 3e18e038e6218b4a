"""A table of tokens and learning rate: a CSV, or JSON lines such as a run's own metrics."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from megatron_lite.options import parse_count
from pretrain.errors import nearest

COLUMNS = ("tokens", "lr")
MAX_POINTS = 10_000  # a config with so many loads in a second
Row = tuple[int, Mapping[str, Any]]  # the line it stands in, and its values by column


def read_table(path: str) -> list[tuple[int, float]]:
    """The points of a file, by ascending tokens; ValueError that names the file and the line."""
    lines = _lines(path)
    as_json = bool(lines) and lines[0].lstrip().startswith("{")
    rows = _json_rows(path, lines) if as_json else _csv_rows(path, lines)
    points: list[tuple[int, float]] = []
    for number, row in rows:
        try:
            tokens, lr = _tokens(row), _rate(row)
            if points and tokens <= points[-1][0]:
                raise ValueError(f"tokens should ascend, and {tokens} comes after {points[-1][0]}")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        points.append((tokens, lr))
    if not points:
        raise ValueError(f"{path}: no line has tokens and a learning rate")
    if len(points) > MAX_POINTS:
        fewer = -(-len(points) // MAX_POINTS)
        raise ValueError(f"{path}: {len(points)} points, at most {MAX_POINTS}; every {fewer}th line would do")
    return points


def _lines(path: str) -> list[str]:
    try:
        return Path(os.path.expanduser(path)).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read '{path}' ({getattr(error, 'strerror', None) or error})") from None


def _csv_rows(path: str, lines: list[str]) -> Iterator[Row]:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    for column in COLUMNS:
        if header.count(column) != 1:
            how = "several columns" if column in header else "no column"
            raise ValueError(
                f"{path}, line 1: {how} '{column}' in the header {','.join(header)}."
                + ("" if column in header else nearest(column, header))
            )
    for values in reader:
        if any(value.strip() for value in values):
            yield reader.line_num, dict(zip(header, map(str.strip, values), strict=False))


def _json_rows(path: str, lines: list[str]) -> Iterator[Row]:
    """Of a run's metrics the updates alone: a line there may also be a validation."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object")
        if row.get("kind", "train") == "train":
            yield number, row


def _tokens(row: Mapping[str, Any]) -> int:
    """What was trained when the rate held; a run's line counts its own batch as well."""
    tokens = _count(row, "tokens")
    return tokens - _count(row, "batch_tokens") if row.get("kind") == "train" else tokens


def _count(row: Mapping[str, Any], column: str) -> int:
    value = _value(row, column)
    try:
        return parse_count(value)
    except ValueError as error:
        raise ValueError(f"{column} {value!r} {error}") from None


def _rate(row: Mapping[str, Any]) -> float:
    value = _value(row, "lr")
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise ValueError(f"lr {value!r} should be a number that is not negative")
    return rate


def _value(row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if value is None or value == "":
        raise ValueError(f"{column} is missing.{nearest(column, row) if column not in row else ''}")
    return value
