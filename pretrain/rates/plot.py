"""The learning rate against tokens as a picture: linear axes, and log axes on which a power law is a line."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron_lite.options import format_count
from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.monitor.curves import BLUE, DOTS_PER_INCH, GRID, INK, SOURCE_COLOURS
from pretrain.rates.points import Point
from pretrain.rates.ranges import log_from, log_limits, shaded
from pretrain.rates.rates import Rates
from pretrain.rates.samples import places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
# told apart without colour too, as in a grey print
DOTS = (1, 1.4)
STYLES: Sequence[Any] = (
    "-",
    (0, (6, 2)),
    (0, DOTS),
    (0, (6, 1.4, *DOTS)),
    (0, (6, 1.4, *DOTS, *DOTS)),
    (0, (12, 4)),
)
COLOURS = (BLUE, *SOURCE_COLOURS)
SHADE = "#EFEFEF"
NAMED_POINTS = 6  # more would lie over each other
LETTERS_PER_INCH, HANDLE_LETTERS = 14, 9  # of a legend: its labels, and a line beside one
LETTER = 0.014  # of the linear panel's width that a letter of a stage's name takes
LOG_RATIO = 10  # of the last to the first token count, below which log axes say nothing


def check(file: Path) -> None:
    """UserError where a picture cannot go there."""
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--plot: '{file}' should end in {', '.join(FORMATS)}")
    if not file.parent.is_dir():
        raise UserError(f"--plot: there is no folder '{file.parent}'")


def draw(file: Path, rates: Rates, points: Sequence[Point] = ()) -> None:
    """Write the picture in the format that the file's name asks for, with `points` marked."""
    content = picture(rates, points, file.suffix.lower())
    try:
        replace(file, content)
    except OSError as error:
        raise UserError(f"--plot: cannot write '{file}' ({error.strerror})") from error


def picture(rates: Rates, points: Sequence[Point], suffix: str) -> bytes:
    """The picture as a file's bytes; the same config makes the same bytes."""
    # not through pyplot: no global state, no look at the display
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    has_log = rates.last >= LOG_RATIO * log_from(rates)
    rows, heights = (2, (3, 1.1)) if rates.batch_changes else (1, (1,))
    columns, widths = (2, (1.5, 1)) if has_log else (1, (1,))
    figure = Figure(figsize=(10 if has_log else 7.5, 5.6 if rows > 1 else 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex="col", height_ratios=heights, width_ratios=widths
    )
    figure.suptitle(rates.name, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    for column, is_log in enumerate((False, True)[:columns]):
        _draw_rates(panels[0][column], rates, points, is_log)
        if rows > 1:
            _draw_batch(panels[1][column], rates, is_log)
        _finish(panels[-1][column], is_log)
    _name_stages(panels[0][0], rates)
    _explain(figure, panels[0][0], rates)
    content = BytesIO()
    with rc_context({"svg.hashsalt": rates.name}):
        figure.savefig(content, format=suffix[1:], dpi=DOTS_PER_INCH, metadata=FORMATS[suffix])
    return content.getvalue()


def _draw_rates(axes: Axes, rates: Rates, points: Sequence[Point], is_log: bool) -> None:
    tokens = [count for count in places(rates) if not is_log or count >= log_from(rates)]
    lines = rates.lines()
    for number, line in enumerate(lines):
        axes.plot(
            tokens,
            [line.value(count) for count in tokens],
            color=COLOURS[number % len(COLOURS)],
            linestyle=STYLES[number % len(STYLES)],
            linewidth=2 if number == 0 else 1.5,
            zorder=3 if number == 0 else 2,
            label=line.label,
        )
    axes.plot([point.tokens for point in points], [point.lr for point in points], "o", color=BLUE, zorder=4)
    _shade(axes, rates)
    _scale(axes, rates, is_log)
    if is_log:
        axes.set_ylim(*log_limits(rates, tokens))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda lr, _: f"{lr:g}")
    else:
        axes.set_ylabel("learning rate", color=INK)
        axes.set_ylim(bottom=0)
        _name_points(axes, points)


def _draw_batch(axes: Axes, rates: Rates, is_log: bool) -> None:
    segments = rates.segments
    tokens = [max(rates.first, segment.first_tokens) for segment in segments]
    batches = [segment.batch_tokens for segment in segments]
    axes.plot(
        [*tokens, rates.last], [*batches, batches[-1]], color=BLUE, linewidth=1.5, drawstyle="steps-post"
    )
    _shade(axes, rates)
    _scale(axes, rates, is_log)
    if is_log:
        axes.set_yscale("log", base=2)
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("tokens in a batch", color=INK)
    axes.yaxis.set_major_formatter(lambda size, _: format_count(round(size)))


def _shade(axes: Axes, rates: Rates) -> None:
    """Warm-up and decay, and thin lines where one stage ends and the next begins."""
    for start, end in shaded(rates).values():
        axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
    for stage in rates.derived.stages:
        if stage.first_tokens > rates.first:
            axes.axvline(stage.first_tokens, color=INK, linewidth=0.6, linestyle=":", zorder=1)


def _explain(figure: Figure, axes: Axes, rates: Rates) -> None:
    """One legend for all panels, beside the title while there is room."""
    from matplotlib.patches import Patch

    handles, labels = axes.get_legend_handles_labels()
    if shaded(rates):
        handles, labels = [*handles, Patch(color=SHADE)], [*labels, " and ".join(shaded(rates))]
    room = round(LETTERS_PER_INCH * figure.get_figwidth())
    figure.legend(
        handles,
        labels,
        loc="outside upper right",
        ncols=max(1, min(len(labels), room // (HANDLE_LETTERS + max(map(len, labels))))),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=3.6,
    )


def _scale(axes: Axes, rates: Rates, is_log: bool) -> None:
    if is_log:
        axes.set_xscale("log")
    axes.set_xlim(log_from(rates) if is_log else rates.first, rates.last)
    axes.xaxis.set_major_formatter(lambda tokens, _: format_count(round(tokens)))
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)


def _finish(axes: Axes, is_log: bool) -> None:
    """The panel that the token counts stand under."""
    axes.set_xlabel("tokens (log)" if is_log else "tokens", color=INK)


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    for point in points[:NAMED_POINTS]:
        axes.annotate(
            f"{format_count(point.tokens)}: {point.lr:.4g}",
            (point.tokens, point.lr),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )


def _name_stages(axes: Axes, rates: Rates) -> None:
    """Above the panel, where there are several and room for the name."""
    ahead = [stage for stage in rates.derived.stages if stage.end.tokens > rates.first]
    for stage in ahead if len(ahead) > 1 else ():
        start = max(stage.first_tokens, rates.first)
        if (stage.end.tokens - start) / (rates.last - rates.first) > LETTER * len(stage.name):
            over_panel = axes.get_xaxis_transform()
            axes.text(start, 1.01, f" {stage.name}", transform=over_panel, fontsize=8.5, color=INK)
