"""How every figure looks: series told apart by shade, marker and line at once, log axes with powers on them.

Shades go from dark to light with the rank of what they stand for, so that a grey print keeps the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from pretrain.laws.figures.words import short

INK, SOFT, GRID, LAW = "#1b1f24", "#6a727b", "#e4e7ea", "#c2410c"
MARKERS = "osD^vPX*"
LINES: Sequence[Any] = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (7, 1.6, 1.6, 1.6)))
LIGHTEST = 0.7  # of the colour map: what is lighter is lost on white paper
MOST_SERIES = 8
MOST_PANELS = 6
MOST_TICKS = 7
WIDE = 14  # powers of 2, from which on powers of 10 are marked
LETTER, APART = 0.036, 0.03  # of an axis: a letter of a label, and the room between two labels
WIDTH = 7.2  # inches of two panels; one has less, so that letters are as large beside it
ONE, HEIGHT = 5.0, 3.2
LETTERS_PER_INCH = 10.5  # of a legend, with eight for the line of each entry
BELOW = 1.2  # inches of a legend under a panel
P = ParamSpec("P")
R = TypeVar("R")
STYLE: Any = {
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.title_fontsize": 10.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws in this style, whatever the user's own settings are."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def panels(count: int, *, share: bool = False, below: float = 0.5) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, two a row; `share`: one scale for all; `below`: inches for legends."""
    columns = min(count, 2)
    rows = -(-count // columns)
    # not through pyplot: no global state, no look at the display
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(WIDTH if columns > 1 else ONE, HEIGHT * rows + below), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    every = list(axes.flat)
    for spare in every[count:]:
        spare.remove()
    if share:
        for one in every[:count]:
            one.tick_params(labelbottom=True, labelleft=True)
    return figure, every[:count]


def look(rank: int, count: int) -> dict[str, Any]:
    """The shade, marker and line of one of `count` series."""
    shade = LIGHTEST * rank / max(1, count - 1)
    return {
        "color": colormaps["viridis"](shade),
        "marker": MARKERS[rank % len(MARKERS)],
        "linestyle": LINES[rank % len(LINES)],
    }


def some(values: Sequence[float], most: int = MOST_SERIES) -> list[float]:
    """At most so many of the values in rising order, first and last among them."""
    known = sorted(set(values))
    return [
        known[i] for i in np.unique(np.linspace(0, len(known) - 1, min(len(known), most)).round().astype(int))
    ]


def legend(figure: Figure, handles: Sequence[Line2D], title: str | None = None) -> None:
    """One for all panels, below them."""
    columns = _columns(handles, figure.get_figwidth())
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        title=title,
        columnspacing=1.4,
        handlelength=2.4,
    )


def under(axes: Axes, handles: Sequence[Line2D], title: str) -> None:
    """One for a panel, below it, where there is no doubt which panel it is of."""
    axes.legend(
        handles=handles,
        title=title,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=min(3, _columns(handles, WIDTH / 2)),
        columnspacing=1.0,
        handlelength=1.9,
        handletextpad=0.5,
    )


def _columns(handles: Sequence[Line2D], width: float) -> int:
    letters = [len(str(handle.get_label())) + 8 for handle in handles]
    room = LETTERS_PER_INCH * width
    return len(handles) if sum(letters) <= room else max(1, int(room // max(letters)))


def key(label: str, **looks: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=label, **looks)


def log_axis(
    axis: Axis, values: Sequence[float] | np.ndarray, *, margin: float = 0.06, decimal: bool = False
) -> None:
    """Logarithmic around the values: powers of 2 marked, of 10 over a wide span; or plain decimals."""
    known = np.asarray(values, float)
    low, high = math.log2(known.min()), math.log2(known.max())
    pad = max(margin * (high - low), 0.25)
    _limit(axis, 2 ** (low - pad), 2 ** (high + pad))
    if decimal:
        ticks = _decimals(2 ** (low - pad), 2 ** (high + pad))
    else:
        base = 2 if high - low < WIDE else 10
        ticks = _powers(base, (low - pad) / math.log2(base), (high + pad) / math.log2(base))
    _mark(axis, list(ticks), lambda value, _: ticks.get(value, ""))


def count_axis(axis: Axis, values: Sequence[float] | np.ndarray) -> None:
    """Logarithmic with the values that were tried on it, as counts; crowded ones go without a label."""
    known = sorted({float(value) for value in values})
    low, high = math.log2(known[0]), math.log2(known[-1])
    pad = max(0.06 * (high - low), 0.25)
    _limit(axis, 2 ** (low - pad), 2 ** (high + pad))
    _mark(axis, _roomy(known, high - low + 2 * pad), lambda value, _: short(value))


def _mark(axis: Axis, ticks: Sequence[float], label: Callable[[float, float], str]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(label)


def few_ticks(axis: Axis, most: int = 5) -> None:
    """A linear axis that is not crowded."""
    axis.set_major_locator(MaxNLocator(most))


def guide(axes: Axes, x: Sequence[float], y: Sequence[float], text: str) -> None:
    """A thin line for the eye with a word at its end: a slope, not a fit."""
    axes.plot(x, y, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        text, (x[-1], y[-1]), xytext=(2, 0), textcoords="offset points", fontsize=9.5, color=SOFT, va="center"
    )


def _limit(axis: Axis, low: float, high: float) -> None:
    axes = axis.axes
    if axis is axes.xaxis:
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)


def _powers(base: int, low: float, high: float) -> dict[float, str]:
    first, last = math.ceil(low), math.floor(high)
    stride = max(1, -(-(last - first + 1) // MOST_TICKS))
    return {float(base) ** k: f"${base}^{{{k}}}$" for k in range(first, last + 1, stride)}


def _decimals(low: float, high: float) -> dict[float, str]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{k}") for k in powers for digit in (1, 1.5, 2, 3, 5, 7)]
    return {value: f"{value:g}" for value in every if low <= value <= high}


def _roomy(known: Sequence[float], span: float) -> Sequence[float]:
    """Every one, every second or third if those have room beside each other; else those that have."""
    for stride in (1, 2, 3):
        chosen = known[::-1][::stride]
        if all(_apart(a, b, span) for a, b in pairwise(chosen)):
            return chosen
    taken = [known[-1]]
    for value in reversed(known):
        if _apart(taken[-1], value, span):
            taken.append(value)
    return taken


def _apart(larger: float, smaller: float, span: float) -> bool:
    letters = (len(short(larger)) + len(short(smaller))) / 2
    return math.log2(larger / smaller) >= (letters * LETTER + APART) * span
