"""The sketch read back: every mark stands where its number says, and no row is wider than the terminal."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from pretrain.rates.canvas import BITS, BRAILLE, canvas
from pretrain.rates.rates import Line
from pretrain.rates.sketch import Sketch
from pretrain.rates.ticks import round_step, ticks

curves = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=20, max_size=20)


def printed(lines: list[Line], *, width: int, encoding: str = "utf-8", colour: bool = False) -> list[str]:
    """A sketch from 0 to 3T tokens as a terminal of that width and encoding gets it."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(
        file=out, width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(
        Sketch(title="lr", lines=lines, first=0, last=3 * 10**12, height=13, show=lambda lr: f"{lr:.3g}")
    )
    out.seek(0)
    return out.read().splitlines()


def dots(row: str) -> list[tuple[int, int]]:
    """The dots of a row of braille: line within the row, column."""
    return [
        (down, 2 * column + across)
        for column, letter in enumerate(row)
        for down, bits in enumerate(BITS)
        for across, bit in enumerate(bits)
        if letter != " " and (ord(letter) - BRAILLE) & bit
    ]


@given(curves)
@example([0.0, 1.0] * 10)
def test_the_line_is_where_its_values_are_and_has_no_gaps(values: list[float]) -> None:
    rows = canvas([values], top=1.0, width=10, height=5, ascii_only=False)
    lit = {(4 * number + down, place) for number, row in enumerate(rows) for down, place in dots(row)}
    for place, value in enumerate(values):
        assert (19 - round(19 * value), place) in lit
    reach = [[y for y, column in lit if column == place] for place in range(20)]
    for place, (before, after) in enumerate(pairwise(reach)):
        assert sorted(after) == list(range(min(after), max(after) + 1)), place
        assert min(after) <= max(before) + 1
        assert max(after) >= min(before) - 1


@given(curves)
def test_in_ascii_likewise(values: list[float]) -> None:
    rows = canvas([values], top=1.0, width=10, height=5, ascii_only=True)
    assert "".join(rows).isascii()
    for column, value in enumerate(values[::2]):
        assert rows[4 - round(4 * value)][column] == "*"


def test_curves_on_each_other_all_show() -> None:
    (row,) = {
        row for row in canvas([[0.5] * 24] * 3, top=1.0, width=12, height=5, ascii_only=True) if row.strip()
    }
    assert row == "*xo*xo*xo*xo"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@given(width=st.integers(20, 200), peak=st.floats(1e-9, 1e9), others=st.integers(0, 8))
def test_no_row_is_wider_than_the_terminal(encoding: str, width: int, peak: float, others: int) -> None:
    lines = [
        Line(label=f"curve {number}", value=lambda tokens: peak * tokens / 3e12)
        for number in range(others + 1)
    ]
    rows = printed(lines, width=width, encoding=encoding)
    assert max(map(len, rows), default=0) <= min(width, 72)
    assert bool(rows) == (width >= 41)


def test_axes_have_round_numbers_at_their_places() -> None:
    """A line from 0 to its highest value: the numbers on both axes can be checked against it."""
    rows = printed([Line(label="lr", value=lambda tokens: 0.02 * tokens / 3e12)], width=72, encoding="ascii")
    labelled = {row[:7].strip(): row[9:] for row in rows if row[8:9] == "+" and row[:7].strip()}
    assert list(labelled) == ["0.02", "0.015", "0.01", "0.005", "0"]
    for label, row in labelled.items():
        assert math.isclose((row.index("*") + row.rindex("*")) / 2 / 62, float(label) / 0.02, abs_tol=0.05)
    feet, counts = rows[-2], rows[-1]
    for label, share in {"0": 0, "1T": 1 / 3, "2T": 2 / 3, "3T": 1}.items():
        foot = 9 + round(62 * share)
        assert feet[foot] == "+"
        assert abs(counts.index(f" {label}") + 1 - foot) <= 1


def test_a_curve_of_zeros_lies_on_the_axis() -> None:
    rows = printed([Line(label="lr", value=lambda tokens: 0.0)], width=72, encoding="ascii")
    (zero,) = [row for row in rows if "*" in row]
    assert zero == f"{'0':>7} +{'*' * 63}"


def test_a_legend_only_where_there_is_something_to_tell_apart() -> None:
    line = Line(label="power", value=lambda tokens: 1.0)
    assert "power" not in "".join(printed([line], width=80))
    rows = printed([line, Line(label="wsd", value=lambda tokens: 0.5)], width=80)
    assert "power" in rows[-1]
    assert "x wsd" in rows[-1]


def test_colours_where_there_are_any() -> None:
    lines = [Line(label=name, value=lambda tokens: 1.0) for name in ("power", "wsd")]
    assert any("\x1b[31m" in row for row in printed(lines, width=80, colour=True))
    assert not any("\x1b" in row for row in printed(lines, width=80))


@given(low=st.integers(0, 10**13), length=st.integers(100, 10**13), most=st.integers(3, 10))
def test_ticks_are_round_even_and_no_more_than_asked(low: int, length: int, most: int) -> None:
    found = ticks(low, low + length, most)
    assert 1 <= len(found) <= most
    rounding = 1e-8 * length  # far less than a column
    assert all(low - rounding <= tick <= low + length + rounding for tick in found)
    steps = {round(after - before, 3) for before, after in pairwise(found)}
    assert len(steps) <= 1
    for step in steps:
        assert f"{step:e}".split("e")[0] in ("1.000000", "2.000000", "2.500000", "5.000000")


@given(st.floats(1e-12, 1e12))
def test_a_round_step_is_never_too_small_nor_far_too_large(least: float) -> None:
    assert least * (1 - 1e-9) <= round_step(least) <= 2 * least * (1 + 1e-9)
