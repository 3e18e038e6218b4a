"""A panel a size, in which every optimum is a point: the frame of several figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import MOST_PANELS, key, legend, log_axis, look, panels, some
from pretrain.laws.figures.words import short
from pretrain.laws.optimum import Optimum

Number = Callable[[Optimum], float]


def lines_by_size(
    study: Study, *, x: Number, y: Number, series: Number, name: Callable[[float], str], title: str
) -> tuple[Figure, list[Axes], list[float]]:
    """y against x, a line for each value of `series`; the figure, its panels and their sizes.

    Filled points belong to the three best batches of their budget, of which the law is made.
    """
    sizes = some(study.sizes, MOST_PANELS)
    figure, axes = panels(len(sizes), share=len(sizes) > 1)
    values = some([series(one) for one in study.found])
    best = {(point.N, point.T, batch) for point in study.fit.points for batch in point.batches}
    for one, N in zip(axes, sizes, strict=True):
        for rank, value in enumerate(values):
            points = sorted((o for o in study.of(N=N) if series(o) == value), key=x)
            draw_points(one, points, x, y, look(rank, len(values)), best)
        one.set_title(f"N = {short(N)}")
    for one in axes:
        log_axis(one.yaxis, [y(o) for o in study.found])
    legend(figure, [key(name(v), **look(rank, len(values))) for rank, v in enumerate(values)], title=title)
    return figure, axes, sizes


def draw_points(
    axes: Axes,
    points: Sequence[Optimum],
    x: Number,
    y: Number,
    style: dict[str, Any],
    best: set[tuple[float, float, float]],
) -> None:
    """One series with its error bars; open where a batch is not among the three best."""
    if not points:
        return
    places, values = np.array([x(one) for one in points]), np.array([y(one) for one in points])
    errors = np.nan_to_num([one.log_lr_se for one in points])
    line = {name: style[name] for name in ("color", "linestyle")}
    axes.plot(places, values, **line, linewidth=1.2, zorder=2)
    axes.vlines(
        places,
        values * np.exp(-errors),
        values * np.exp(errors),
        color=style["color"],
        linewidth=1.0,
        zorder=2,
    )
    filled = np.array([(one.cell.N, one.cell.T, one.cell.batch_tokens) in best for one in points])
    for inside, face in ((filled, style["color"]), (~filled, "white")):
        looks = {"marker": style["marker"], "color": style["color"], "markerfacecolor": face}
        axes.plot(places[inside], values[inside], linestyle="none", zorder=3, **looks)
