"""Loss against learning rate, a line a width: four panels, each width's best rate marked."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.lr_transfer.fit import Slope
from benchmarks.lr_transfer.summary import Panel, SeedCurve, mean_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7")  # Okabe and Ito
INK, GRID = "#333333", "#E5E5E5"
SHOWN_NATS = 1.2  # above the lowest loss of a panel; what lies higher is drawn at the top
NAMES = {"mup": "µP", "standard": "standard", "dense": "dense", "moe": "MoE"}


def draw(panels: Sequence[Panel]) -> bytes:
    """The picture as PNG; the same results make the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(2, 2).flat, panels, strict=True):
        _draw_panel(axes, panel)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    return png.getvalue()


def slope_text(slope: Slope | None) -> str:
    """A slope with its interval."""
    if slope is None:
        return "no slope"
    return f"{slope.slope:+.2f}" + ("" if slope.half_width is None else f" ± {slope.half_width:.2f}")


def _draw_panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    name = f"{NAMES[panel.architecture]}, {NAMES[panel.parametrisation]}"
    axes.set_title(f"{name}: slope {slope_text(panel.slope)}", loc="left", fontsize=11, color=INK)
    axes.set_xlabel("peak learning rate", color=INK)
    axes.set_ylabel("held-out loss (nats per token)", color=INK)
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(lambda log2_lr, _: f"$2^{{{log2_lr:.0f}}}$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lowest = min((min(curve.losses.values()) for curve in panel.curves if curve.losses), default=0.0)
    top = lowest + SHOWN_NATS
    for number, width in enumerate(panel.widths):
        _draw_width(axes, panel, width, COLOURS[number % len(COLOURS)], top)
    axes.set_ylim(lowest - 0.06 * SHOWN_NATS, top + 0.1 * SHOWN_NATS)
    if panel.widths:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper center", ncols=len(panel.widths))


def _draw_width(axes: Axes, panel: Panel, width: int, colour: str, top: float) -> None:
    curves = panel.of_width(width)
    shared = sorted(set.intersection(*(set(curve.losses) for curve in curves)))
    means = [np.mean([curve.losses[log2_lr] for curve in curves]) for log2_lr in shared]
    axes.plot(shared, np.minimum(means, top), color=colour, linewidth=1.4, label=str(width))
    for curve in curves:
        _draw_points(axes, curve, colour, top)
    bests = panel.bests(width)
    if bests:
        mean = mean_best(bests)
        axes.plot(mean.log2_lr, mean.loss, "*", color=colour, markersize=13, markeredgecolor=INK, zorder=5)


def _draw_points(axes: Axes, curve: SeedCurve, colour: str, top: float) -> None:
    """A dot a trial; at the top a triangle where it lies above, a cross where it diverged."""
    for log2_lr, loss in curve.losses.items():
        if log2_lr in curve.diverged:
            axes.plot(log2_lr, top, "x", color=colour, markersize=7, clip_on=False)
        elif loss > top:
            axes.plot(log2_lr, top, "^", color=colour, markersize=5, clip_on=False)
        else:
            axes.plot(log2_lr, loss, ".", color=colour, markersize=4)
