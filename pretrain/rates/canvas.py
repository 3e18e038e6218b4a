"""Curves as characters: one connected line in braille, others as marks of their own; needs no colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

DOTS_ACROSS, DOTS_DOWN = 2, 4  # of a braille character
BRAILLE = 0x2800
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of dots, by row and column
MARKS = "xo+#%@"  # of the curves behind the first
OWN_IN_ASCII = "*"


def canvas(
    curves: Sequence[Sequence[float]], *, top: float, width: int, height: int, ascii_only: bool
) -> list[str]:
    """Rows of characters; each curve is given at 2 x `width` places, the first is the line.

    Marks stand in columns in turn, so that curves that lie on each other show as both.
    """
    own, *others = curves
    rows = _starred(own, top, width, height) if ascii_only else _dotted(own, top, width, height)
    turns = len(others) + 1
    for number, curve in enumerate(others):
        for column in range(number + 1, width, turns):
            row = _row(curve[DOTS_ACROSS * column], top, height)
            rows[row][column] = MARKS[number % len(MARKS)]
    return ["".join(row) for row in rows]


def own_mark(ascii_only: bool) -> str:
    """The first curve's, in a legend."""
    return OWN_IN_ASCII if ascii_only else chr(BRAILLE | 0x24)


def _dotted(values: Sequence[float], top: float, width: int, height: int) -> list[list[str]]:
    masks = [[0] * width for _ in range(height)]
    dots = [_row(value, top, DOTS_DOWN * height) for value in values]
    for place, (before, dot) in enumerate(pairwise([dots[0], *dots])):
        for y in _between(before, dot):
            row, column = y // DOTS_DOWN, place // DOTS_ACROSS
            masks[row][column] |= BITS[y % DOTS_DOWN][place % DOTS_ACROSS]
    return [[chr(BRAILLE | mask) if mask else " " for mask in row] for row in masks]


def _starred(values: Sequence[float], top: float, width: int, height: int) -> list[list[str]]:
    rows = [[" "] * width for _ in range(height)]
    marks = [_row(value, top, height) for value in values[::DOTS_ACROSS]]
    for column, (before, mark) in enumerate(pairwise([marks[0], *marks])):
        for y in _between(before, mark):
            rows[y][column] = OWN_IN_ASCII
    return rows


def _between(before: int, after: int) -> range:
    """The rows of a vertical stroke that ends at `after` and reaches all but `before` itself."""
    if after > before:
        return range(before + 1, after + 1)
    return range(after, before) if after < before else range(after, after + 1)


def _row(value: float, top: float, rows: int) -> int:
    """The row from above of a value between 0 at the bottom and `top`."""
    return rows - 1 - round(min(1.0, max(0.0, value / top)) * (rows - 1))
