"""Columns of a CSV file as checked arrays: every mistake is answered with file, line, column and value."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megatron_lite.options import parse_count
from pretrain.errors import UserError, nearest

Array = NDArray[np.float64]
ABSENT = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a CSV file by column, and the line that each row stands on."""

    path: Path
    columns: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def find(self, *names: str) -> str | None:
        """The first of these columns that the file has, whatever its letters' case."""
        known = {name.lower(): name for name in reversed(list(self.columns))}
        return next((known[name.lower()] for name in names if name.lower() in known), None)

    def need(self, *names: str, why: str = "") -> str:
        """Like `find`, but a file without any of them is refused with its columns."""
        if (found := self.find(*names)) is None:
            wanted = " or ".join(f"'{name}'" for name in names)
            raise UserError(
                f"{self.path}: no column {wanted}{f' ({why})' if why else ''}; "
                f"it has {', '.join(self.columns)}.{nearest(names[0], self.columns)}"
            )
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """The cells of a column as they are written."""
        return self.columns[name]

    def positive(self, name: str) -> Array:
        """A column of finite numbers above 0; counts may be written 10.5B or 300M."""
        return np.array([self._positive(name, i) for i in range(len(self.lines))], float)

    def reals(self, name: str) -> Array:
        """A column of numbers in which nothing, NaN and infinity may stand for a run that gave none."""
        return np.array([self._real(name, i) for i in range(len(self.lines))], float)

    def _positive(self, name: str, row: int) -> float:
        value = _number(self.columns[name][row])
        if value is None or not math.isfinite(value) or value <= 0:
            raise self._wrong(name, row, "a finite number above 0, such as 0.002, 3e9 or 10.5B")
        return value

    def _real(self, name: str, row: int) -> float:
        text = self.columns[name][row]
        value = math.nan if text.lower() in ABSENT else _number(text)
        if value is None:
            raise self._wrong(name, row, "a number, or nothing where the run gave none")
        return value

    def _wrong(self, name: str, row: int, allowed: str) -> UserError:
        value = self.columns[name][row]
        return UserError(f"{self.path}, line {self.lines[row]}: {name} is '{value}' and should be {allowed}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(parse_count(text))
    except ValueError:
        return None


def read(path: Path) -> Table:
    """The table in a CSV file with a header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from None
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise UserError(f"{path}: empty; a header and rows are needed")
    return _table(path, rows[0][1], rows[1:])


def _table(path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> Table:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: column '{twice}' appears twice")
    if not rows:
        raise UserError(f"{path}: a header but no rows")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {line}: {len(row)} values for {len(header)} columns")
    columns = {name: tuple(row[i] for _, row in rows) for i, name in enumerate(header)}
    return Table(path=path, columns=columns, lines=tuple(line for line, _ in rows))
