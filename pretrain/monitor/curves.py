"""Loss and learning rate against tokens, as one picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megatron_lite.options import format_count
from pretrain.files import replace
from pretrain.monitor.record import METRICS, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = dict[str, Any]

# Okabe and Ito's colours, told apart with any kind of colour vision; training has the first
BLUE, *SOURCE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SOURCE_MARKERS = "osD^v"
INK, GRID = "#333333", "#E5E5E5"
DOTS_PER_INCH = 160

SMOOTHED_FROM = 100  # updates from which on a mean is drawn over the single losses
SMOOTHED_SHARE = 0.02  # of the updates, that each point of the mean covers
START_SHARE = 0.05  # of the updates, whose losses may lie outside of the picture ...
START_SPREADS = 2.0  # ... where they would lie this many times above the spread of the rest


def draw(run_folder: Path, file: Path) -> None:
    """Draw what metrics.jsonl holds so far into a PNG."""
    replace(file, picture(run_folder))


def picture(run_folder: Path) -> bytes:
    """The picture as PNG; the same record makes the same bytes."""
    # not through pyplot: no global state, no look at the display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read(run_folder / METRICS)
    train = [line for line in lines if line["kind"] == "train"]
    validation = [line for line in lines if line["kind"] == "validation"]
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    loss.set_title(run_folder.resolve().name, loc="left", fontweight="bold", color=INK)
    _draw_loss(loss, train, validation)
    _draw_rate(rate, train)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return png.getvalue()


def _draw_loss(axes: Axes, train: list[Line], validation: list[Line]) -> None:
    axes.set_ylabel("loss (nats per token)")
    _draw_training_loss(axes, _values(train, "tokens"), _values(train, "loss"))
    for number, source in enumerate(dict.fromkeys(line["source"] for line in validation)):
        points = [line for line in validation if line["source"] == source]
        style: dict[str, Any] = {
            "color": SOURCE_COLOURS[number % len(SOURCE_COLOURS)],
            "marker": SOURCE_MARKERS[number % len(SOURCE_MARKERS)],
            "label": f"validation, {source}",
        }
        axes.plot(_values(points, "tokens"), _values(points, "loss"), linewidth=1, markersize=5, **style)
    _finish(axes)
    _limit_loss(axes, _values(train, "loss"), _values(validation, "loss"))
    if train or validation:
        axes.legend(frameon=False, loc="upper right", fontsize=9, labelcolor=INK)
    else:
        axes.text(0.5, 0.5, "no updates yet", transform=axes.transAxes, ha="center", color=INK)
        axes.set(xticks=[], yticks=[])


def _draw_training_loss(axes: Axes, tokens: np.ndarray, loss: np.ndarray) -> None:
    if len(loss) < SMOOTHED_FROM:
        marker = "." if len(loss) < 2 else ""
        axes.plot(tokens, loss, color=BLUE, linewidth=1.3, marker=marker, label="training")
        return
    axes.plot(tokens, loss, color=BLUE, linewidth=0.7, alpha=0.35, label="training")
    width = round(len(loss) * SMOOTHED_SHARE) | 1  # odd, so that it has a middle
    mean = np.convolve(loss, np.full(width, 1 / width), mode="valid")
    middle = tokens[width // 2 : len(tokens) - width // 2]
    axes.plot(middle, mean, color=BLUE, linewidth=1.5, label=f"training, mean of {width} updates")


def _draw_rate(axes: Axes, train: list[Line]) -> None:
    axes.set_ylabel("learning rate")
    axes.set_xlabel("tokens")
    marker = "." if len(train) < 2 else ""
    axes.plot(_values(train, "tokens"), _values(train, "lr"), color=BLUE, linewidth=1.5, marker=marker)
    _finish(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=train[0]["tokens"] - train[0]["batch_tokens"] if train else 0)


def _limit_loss(axes: Axes, train: np.ndarray, validation: np.ndarray) -> None:
    """Keep a start far above the rest from flattening the rest, and say where it was."""
    rest = np.concatenate([train[round(len(train) * START_SHARE) :], validation])
    rest = rest[np.isfinite(rest)]
    if not len(rest):
        return
    low, high = rest.min(), rest.max()
    spread = max(high - low, 0.02 * abs(high))
    top = np.nanmax(train, initial=high)
    if top > high + START_SPREADS * spread:
        axes.set_title(
            f"the first losses, up to {top:.1f}, lie above the picture", loc="right", fontsize=9, color=INK
        )
        top = high
    axes.set_ylim(low - 0.05 * spread, top + 0.1 * spread)


def _values(lines: list[Line], key: str) -> np.ndarray:
    """One column; null, which stands for NaN, leaves a gap in a curve."""
    return np.array([np.nan if line[key] is None else line[key] for line in lines], dtype=np.float64)


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda tokens, _: format_count(round(tokens)))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.margins(x=0.01)
