"""A table of numbers as a field of colours (SVG): one row a layer, one column a moment or an expert."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.page import text
from pretrain.report.chart import LEFT, RIGHT, WIDTH, heading, readout

ROW_HEIGHT, MOST_HEIGHT, LEAST_HEIGHT = 16.0, 320.0, 60.0
BELOW = 34
# dark to light, of one hue order that all eyes see alike (after cividis, Nuñez et al. 2018, arXiv 1712.01662)
RISING = ("#00224e", "#2a3f6d", "#575d6d", "#7d7c78", "#a59c74", "#d2c060", "#fee838")
# too little, even, too much
AROUND = ("#0b4f86", "#4f97c7", "#b6d3e6", "#f4f1ea", "#f3b98f", "#df7426", "#9a3b00")


@dataclass(frozen=True, kw_only=True)
class Heat:
    """What is drawn. `values`: rows × columns, NaN where there is none."""

    title: str
    unit: str
    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    x_name: str
    low: float
    high: float
    colours: Sequence[str] = RISING
    log: bool = False
    says: Callable[[float], str] = "{:.3g}".format
    note: str = ""


def heat(what: Heat) -> str:
    """A figure: rows from top to bottom, a key of the colours below; nothing without numbers."""
    if not np.isfinite(what.values).any():
        return ""
    num_rows = len(what.rows)
    field = min(MOST_HEIGHT, max(LEAST_HEIGHT, ROW_HEIGHT * num_rows))
    parts = [*_cells(what, field / num_rows), *_names(what, field)]
    label = text(f"{what.title}, a row a layer, against {what.x_name}")
    box = f'viewBox="0 0 {WIDTH} {field + BELOW:.0f}"'
    return (
        f'<figure class="chart heat">{heading(what.title, what.unit)}{_key(what)}'
        f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"{readout()}" + (f'<p class="note">{text(what.note)}</p>' if what.note else "") + "</figure>"
    )


def colour(share: float, colours: Sequence[str]) -> str:
    """The colour at a share of the way from the first to the last."""
    place = min(1.0, max(0.0, share)) * (len(colours) - 1)
    before = min(int(place), len(colours) - 2)
    part = place - before
    low, high = (_channels(one) for one in colours[before : before + 2])
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(low, high, strict=True))


def share_of(what: Heat, value: float) -> float:
    """Where a value lies between the ends of the scale, 0 to 1."""
    low, high = what.low, what.high
    if what.log:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return (value - low) / (high - low) if high > low else 0.5


def _channels(code: str) -> tuple[int, ...]:
    return tuple(int(code[at : at + 2], 16) for at in (1, 3, 5))


def _cells(what: Heat, height: float) -> Iterator[str]:
    width = (WIDTH - LEFT - RIGHT) / len(what.columns)
    for row, name in enumerate(what.rows):
        yield f'<g transform="translate(0,{row * height:.2f})">'
        for column, value in enumerate(what.values[row]):
            if np.isfinite(value):
                told = f"{name}; {what.x_name} {what.columns[column]}; {what.says(value)}"
                hue = colour(share_of(what, float(value)), what.colours)
                yield (
                    f'<rect x="{LEFT + column * width:.2f}" width="{width + 0.2:.2f}" '
                    f'height="{height + 0.2:.2f}" fill="{hue}"><title>{text(told)}</title></rect>'
                )
        yield "</g>"


def _names(what: Heat, field: float) -> Iterator[str]:
    """Some of the rows' names, the first and the last column's, and what the columns are."""
    height = field / len(what.rows)
    for row in range(0, len(what.rows), max(1, math.ceil(14 / height))):
        short = what.rows[row].removeprefix("layer ")
        yield f'<text class="y" x="{LEFT - 5}" y="{(row + 0.5) * height + 4:.1f}">{text(short)}</text>'
    below, right = field + 14, WIDTH - RIGHT
    yield f'<text class="start" x="{LEFT}" y="{below:.0f}">{text(what.columns[0])}</text>'
    yield f'<text class="x end" x="{right}" y="{below:.0f}">{text(what.columns[-1])}</text>'
    yield f'<text class="x name" x="{(LEFT + right) / 2:.0f}" y="{field + 28:.0f}">{text(what.x_name)}</text>'
    yield f'<text class="y name" x="{LEFT - 5}" y="{field + 14:.0f}">layer</text>'


def _key(what: Heat) -> str:
    stops = ",".join(what.colours)
    low, high = what.says(what.low), what.says(what.high)
    return (
        f'<p class="key">{text(low)}<span style="background:linear-gradient(90deg,{stops})"></span>'
        f"{text(high)}</p>"
    )
