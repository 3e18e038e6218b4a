"""Losses against learning rates as a panel: points, the parabola through the best, its lowest point.

What lies above the panel is a triangle at its top, a run that diverged a cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pretrain.laws.cells import Cell
from pretrain.laws.figures.style import log_axis, look
from pretrain.laws.optimum import Optimum, centred
from pretrain.laws.parabola import powers
from pretrain.laws.table import Array

ROOM = 1.5  # of the panel's spread of best losses and of valleys' depth, that is shown above the best loss
LEAST = 0.02  # nats


@dataclass(frozen=True, kw_only=True, eq=False)
class Valley:
    """One series: a cell, its optimum where there is one, and what its losses count from."""

    label: str
    cell: Cell
    optimum: Optimum | None
    floor: float = 0.0


def draw_valleys(axes: Axes, valleys: Sequence[Valley]) -> None:
    """The series in their order, dark to light."""
    axes.set_xlabel("learning rate η")
    every = [valley.cell.lr for valley in valleys] + [valley.cell.failed_lr for valley in valleys]
    log_axis(axes.xaxis, np.concatenate(every))
    low = min(float(valley.cell.loss.min() - valley.floor) for valley in valleys)
    top = max(_height(valley) for valley in valleys)
    axes.set_ylim(low - 0.06 * (top - low), top + 0.06 * (top - low))
    for rank, valley in enumerate(valleys):
        _draw(axes, valley, look(rank, len(valleys)), top)


def _height(valley: Valley) -> float:
    """How far up a valley is worth showing: past its bottom, not up its walls."""
    losses = valley.cell.loss - valley.floor
    bottom = float(losses.min())
    one = valley.optimum
    inside = losses[list(one.window)] if one is not None else np.sort(losses)[:3]
    depth = max(LEAST, float(np.ptp(inside)))
    return min(float(losses.max()), bottom + 2 * depth)


def _draw(axes: Axes, valley: Valley, style: dict[str, Any], top: float) -> None:
    cell, colour = valley.cell, style["color"]
    losses = valley.cell.loss - valley.floor
    shown = losses <= top
    axes.plot(cell.lr[shown], losses[shown], **{**style, "linestyle": "none"}, zorder=3)
    for rates, marker in ((cell.lr[~shown], "^"), (cell.failed_lr, "x")):
        if rates.size:  # nothing at all has no place, and would take the panel's with it
            looks = {"color": colour, "mfc": "white", "zorder": 3, "clip_on": False}
            axes.plot(rates, np.full(rates.size, top), marker, **looks)
    if valley.optimum is None:
        axes.plot(cell.lr[shown], losses[shown], color=colour, linewidth=0.9, alpha=0.6)
        return
    rates, fitted = _parabola(valley.optimum)
    axes.plot(rates, fitted - valley.floor, color=colour, linestyle=style["linestyle"], zorder=2)
    axes.plot(
        valley.optimum.lr,
        valley.optimum.loss - valley.floor,
        "*",
        color=colour,
        ms=12,
        mec="white",
        mew=0.8,
        zorder=4,
    )


def _parabola(one: Optimum) -> tuple[Array, Array]:
    """The curve through the window's points whose lowest point the optimum is."""
    x, losses = centred(one.cell, list(one.window))
    best = float(np.log(one.cell.lr[int(np.argmin(one.cell.loss))]))
    vertex = one.log_lr - best
    away = x - vertex
    skewed = np.stack([away**2, away**3], axis=1) if x.size > 3 else powers(away)[:, 2:]
    bends, *_ = np.linalg.lstsq(skewed, losses - one.loss, rcond=None)
    places = np.linspace(x[0], x[-1], 60)
    orders = np.stack([(places - vertex) ** (2 + i) for i in range(bends.size)], axis=1)
    return np.exp(places + best), one.loss + orders @ bends
