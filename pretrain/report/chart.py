"""Curves over one quantity as a drawing (SVG) with a heading, a legend and values to point at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.page import text
from pretrain.report.axis import Axis, axis, extent, number
from pretrain.report.marks import Mark, draw_marks

WIDTH, WIDE = 400, 860  # in units of the drawing, whose text has 12
HEIGHT, WIDE_HEIGHT = 232, 330
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 16, 36
LETTER = 6.8  # about the width of a figure
NUM_STRIPS = 90  # to point at, side by side
NUM_COLOURS = 8
SHAPES = (
    "M-3.2,0a3.2,3.2 0 1,0 6.4,0a3.2,3.2 0 1,0 -6.4,0z",
    "M-3,-3h6v6h-6z",
    "M0,-4l4,4l-4,4l-4,-4z",
    "M0,-4l3.8,6.8h-7.6z",
)
DASHES = ("", "6 3", "2 2.5", "8 3 2 3")
FEW_SIGNS = 8  # where they only tell a curve from others

Format = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line through points, with a band where the points stand for more than one value."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int | str = 0  # one of the page's own, by number, or any
    band: tuple[np.ndarray, np.ndarray] | None = None  # least and greatest
    dash: int = 0
    shape: int | None = None  # the sign of the points, which have none without
    signs: int = 60  # of more points than that some have their sign, evenly spread
    thin: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn, and in which words."""

    title: str
    curves: Sequence[Curve]
    x_name: str = "tokens"
    unit: str = ""  # behind the title: what the numbers are
    x_format: Format = number
    y_format: Format = number  # of what is pointed at; beside the axis stand round numbers
    tick_format: Format | None = None
    marks: Sequence[Mark] = ()
    log: bool = False
    log_x: bool = False
    from_zero: bool = False
    limits: tuple[float, float] | None = None  # of y; what lies beyond is drawn at the edge
    x_limits: tuple[float, float] | None = None
    note: str = ""
    wide: bool = False  # over the whole page where there is room


@dataclass(frozen=True, kw_only=True)
class _Frame:
    x: Axis
    y: Axis
    width: int
    height: int


def chart(what: Chart) -> str:
    """A figure; nothing where there is no number to draw."""
    drawn = [curve for curve in what.curves if np.isfinite(curve.y).any()]
    if not drawn:
        return ""
    sizes = ((WIDTH, HEIGHT, "narrow" if what.wide else ""), (WIDE, WIDE_HEIGHT, "broad"))
    drawings = "".join(_drawing(what, drawn, *size) for size in sizes[: 1 + what.wide])
    return (
        f'<figure class="chart{" whole" if what.wide else ""}">{heading(what.title, what.unit)}'
        f"{_legend(drawn)}{drawings}{readout()}"
        + (f'<p class="note">{text(what.note)}</p>' if what.note else "")
        + "</figure>"
    )


def heading(title: str, unit: str = "") -> str:
    """What a figure shows, and in what."""
    return f"<h3>{text(title)}{f' <span>{text(unit)}</span>' if unit else ''}</h3>"


def readout() -> str:
    """Where the values are told that are pointed at."""
    return '<output class="readout"></output>'


def dash_and_sign(number: int) -> tuple[int, int | None]:
    """For curves that are lines first: sixteen that differ, the first four by their dashes alone."""
    return number, number // len(DASHES) or None


def sign_and_dash(number: int) -> tuple[int, int]:
    """For curves that are points first: sixteen that differ, any four after another in both."""
    return number, number + number // len(SHAPES)


def colour_of(curve: Curve) -> str:
    """As CSS has it."""
    return f"var(--c{curve.colour % NUM_COLOURS})" if isinstance(curve.colour, int) else curve.colour


def _legend(curves: Sequence[Curve]) -> str:
    if sum(not curve.thin for curve in curves) < 2:
        return ""  # the heading says it
    keys = (
        f'<li><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" '
        f'style="--c:{colour_of(curve)}">{_key(curve)}</svg>{text(curve.name)}</li>'
        for curve in curves
    )
    return f'<ul class="legend">{"".join(keys)}</ul>'


def _key(curve: Curve) -> str:
    """The curve in small."""
    line = f'<path class="{_kind(curve)}" d="M0,6H24"{_dash(curve)}/>'
    return line if curve.shape is None else line + _point(curve, 12, 6)


def _kind(curve: Curve) -> str:
    return "line thin" if curve.thin else "line"


def _point(curve: Curve, x: float, y: float) -> str:
    shape = SHAPES[(curve.shape or 0) % len(SHAPES)]
    return f'<path d="{shape}" transform="translate({x:.1f},{y:.1f})"/>'


def _drawing(what: Chart, curves: Sequence[Curve], width: int, height: int, kind: str) -> str:
    frame = _frame(what, curves, width, height)
    parts = [*_grid(what, frame), *(_curve(curve, frame) for curve in curves)]
    parts += draw_marks(what.marks, frame.x, TOP, height - BOTTOM)
    parts.append(f'<g class="strips">{"".join(_strips(what, curves, frame))}</g>')
    label = text(f"{what.title} against {what.x_name}")
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _frame(what: Chart, curves: Sequence[Curve], width: int, height: int) -> _Frame:
    xs = what.x_limits or extent(_positive(what.log_x, curve.x) for curve in curves) or (0.0, 1.0)
    ys = what.limits or extent(_positive(what.log, part) for curve in curves for part in _parts(curve))
    low, high = ys or (1.0, 10.0)
    if what.from_zero:
        low, high = min(0.0, low), max(high, 0.0) or 1.0
    y = axis(low, high, height - BOTTOM, TOP, log=what.log, room=0.0 if what.from_zero else 0.04)
    longest = max((len((what.tick_format or number)(tick)) for tick in y.ticks()), default=0)
    left = max(LEFT, 10 + LETTER * longest)
    x = axis(*xs, left, width - RIGHT, log=what.log_x, num_ticks=4 if width == WIDTH else 9)
    return _Frame(x=x, y=y, width=width, height=height)


def _parts(curve: Curve) -> tuple[np.ndarray, ...]:
    return (curve.y, *(curve.band or ()))


def _positive(log: bool, values: np.ndarray) -> np.ndarray:
    return values[values > 0] if log else values


def _grid(what: Chart, frame: _Frame) -> Iterator[str]:
    left, right, bottom = frame.x.start, frame.x.end, frame.height - BOTTOM
    for value in frame.y.ticks():
        at, told = frame.y.at(value), text((what.tick_format or number)(value))
        yield f'<path class="rule" d="M{left:.1f},{at:.1f}H{right}"/>'
        yield f'<text class="y" x="{left - 5:.1f}" y="{at + 4:.1f}">{told}</text>'
    for value in frame.x.ticks():
        at, told = frame.x.at(value), what.x_format(value)
        beyond = max(0.0, at + len(told) * LETTER / 2 - frame.width)
        yield f'<path class="rule" d="M{at:.1f},{bottom}v4"/>'
        yield f'<text class="x" x="{at - beyond:.1f}" y="{bottom + 16}">{text(told)}</text>'
    middle = (left + right) / 2
    yield f'<path class="base" d="M{left:.1f},{bottom}H{right}"/>'
    yield f'<text class="x name" x="{middle:.0f}" y="{frame.height - 4}">{text(what.x_name)}</text>'


def _curve(curve: Curve, frame: _Frame) -> str:
    x, parts = frame.x(curve.x), []
    if curve.band is not None:
        parts.append(f'<path class="band" d="{_band(x, *(frame.y.clamped(edge) for edge in curve.band))}"/>')
    y = frame.y.clamped(curve.y)
    parts.append(f'<path class="{_kind(curve)}" d="{_line(x, y)}"{_dash(curve)}/>')
    known = np.flatnonzero(np.isfinite(x + y))
    if curve.shape is not None or len(known) == 1:
        parts += [_point(curve, x[at], y[at]) for at in known[:: -(-len(known) // curve.signs) or 1]]
    return f'<g style="--c:{colour_of(curve)}">{"".join(parts)}</g>'


def _dash(curve: Curve) -> str:
    dash = DASHES[curve.dash % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _line(x: np.ndarray, y: np.ndarray) -> str:
    """A path through the points, interrupted where one has no place."""
    steps, drawing = [], False
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if a == a and b == b:
            steps.append(f"{'L' if drawing else 'M'}{a:.1f},{b:.1f}")
        drawing = a == a and b == b
    return "".join(steps)


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Closed paths around the stretches that have both edges."""
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    paths = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = slice(start, end)
        there = [f"{a:.1f},{b:.1f}" for a, b in zip(x[piece], high[piece], strict=True)]
        back = [f"{a:.1f},{b:.1f}" for a, b in zip(x[piece][::-1], low[piece][::-1], strict=True)]
        paths.append(f"M{'L'.join(there + back)}z")
    return "".join(paths)


def _strips(what: Chart, curves: Sequence[Curve], frame: _Frame) -> Iterator[str]:
    """Upright strips over the drawing, each with the values of the curves that are nearest to its middle."""
    every = np.unique(np.concatenate([curve.x[np.isfinite(frame.x(curve.x))] for curve in curves]))
    if not len(every):
        return
    chosen = every[np.unique(np.linspace(0, len(every) - 1, min(NUM_STRIPS, len(every))).astype(int))]
    places = frame.x(chosen)
    middles = (places[1:] + places[:-1]) / 2
    edges = np.concatenate([[frame.x.start], middles, [frame.x.end]])
    gap = float(np.diff(chosen).max()) if len(chosen) > 1 else 1.0
    for value, left, right in zip(chosen, edges, edges[1:], strict=False):
        told = [f"{what.x_name} {what.x_format(value)}", *_values(what, curves, value, gap)]
        yield (
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(0.1, right - left):.1f}" '
            f'height="{frame.height - TOP - BOTTOM}"><title>{text("; ".join(told))}</title></rect>'
        )


def _values(what: Chart, curves: Sequence[Curve], x: float, gap: float) -> Iterator[str]:
    for curve in curves:
        at = int(np.argmin(np.abs(curve.x - x)))
        if abs(curve.x[at] - x) > gap or not np.isfinite(curve.y[at]):
            continue
        told = f"{curve.name} {what.y_format(curve.y[at])}"
        if curve.band is not None and curve.band[0][at] < curve.band[1][at]:
            told += f" ({what.y_format(curve.band[0][at])} to {what.y_format(curve.band[1][at])})"
        yield told
