"""Sizes against width as one picture: a panel a kind, a line a quantity in its worst layer and update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron_lite.mup.coordinates.bands import FLAT
from megatron_lite.mup.coordinates.check import Verdict
from megatron_lite.mup.coordinates.places import Kind
from pretrain.coord_check.view import worst_by_quantity
from pretrain.files import replace
from pretrain.monitor.curves import BLUE, DOTS_PER_INCH, GRID, INK, SOURCE_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    Kind.INITIAL: "activations at first",
    Kind.CHANGE: "their changes",
    Kind.UPDATE: "each parameter's part in them",
    Kind.GRADIENT: "first gradients, times width",
}
LEFT_COLOUR = SOURCE_COLOURS[0]
NAMED = 4  # lines of a panel that are named: those that lie farthest out


def draw(file: Path, setting: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Write the picture as PNG."""
    replace(file, picture(setting, verdicts))


def picture(setting: dict[str, Any], verdicts: Sequence[Verdict]) -> bytes:
    """The picture as PNG; the same verdicts make the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(Kind), sharex=True)
    for kind, axes in zip(Kind, panels, strict=True):
        _draw(axes, kind, setting["widths"], [one for one in verdicts if one.place.kind is kind])
    panels[0].set_ylabel("size, relative to the narrowest", color=INK)
    figure.suptitle(_title(setting, verdicts), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH * 0.6, metadata={"Software": None})
    return png.getvalue()


def _title(setting: dict[str, Any], verdicts: Sequence[Verdict]) -> str:
    worst = [verdict for verdict in worst_by_quantity(verdicts) if verdict.band is not None]
    left = sum(verdict.left for verdict in worst)
    outcome = f"{left} of {len(worst)} quantities leave their bands" if left else "every slope is in its band"
    return f"{setting['config']}, µP {setting['mup']}: {outcome}"


def _draw(axes: Axes, kind: Kind, widths: Sequence[int], verdicts: Sequence[Verdict]) -> None:
    """The wedge is the band of the solid lines; a dotted one has another, as `bands.py` says."""
    axes.set_title(TITLES[kind], loc="left", fontsize=10, color=INK)
    ratios = [width / widths[0] for width in widths]
    axes.fill_between(widths, [r**FLAT.low for r in ratios], [r**FLAT.high for r in ratios], color=GRID)
    judged = [verdict for verdict in worst_by_quantity(verdicts) if verdict.band is not None]
    worst = sorted(judged, key=lambda verdict: verdict.excess, reverse=True)
    for number, verdict in enumerate(worst):
        _line(axes, widths, verdict, ratios if kind is Kind.GRADIENT else [1.0] * len(widths), number < NAMED)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.35), max(high, 2.9))
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("width", color=INK)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8, loc="best", labelcolor="linecolor", handlelength=1)


def _line(axes: Axes, widths: Sequence[int], verdict: Verdict, factors: Sequence[float], named: bool) -> None:
    sizes = [size * factor for size, factor in zip(verdict.sizes, factors, strict=True)]
    if not all(0 < size < math.inf for size in sizes):
        return
    usual = verdict.band == FLAT or verdict.place.kind is Kind.GRADIENT
    label = f"{verdict.place.quantity} {verdict.slope.value:+.2f}"
    axes.plot(
        widths,
        [size / sizes[0] for size in sizes],
        color=LEFT_COLOUR if verdict.left else BLUE,
        linestyle="-" if usual else ":",
        linewidth=1,
        marker=".",
        label=label if named or not usual else None,
    )
