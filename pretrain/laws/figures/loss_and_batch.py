"""Time Transfer (b): loss of tuned runs against the batch; how best and critical batch grow with tokens."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.best_batch import TOLERANCE, growing
from pretrain.laws.critical_batch import Growth
from pretrain.laws.figures import grid
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import (
    BELOW,
    INK,
    LAW,
    count_axis,
    few_ticks,
    key,
    log_axis,
    look,
    panels,
    some,
    styled,
    under,
)
from pretrain.laws.figures.words import interval, joined, short


def lacks(study: Study) -> str | None:
    """Two batches at one size and budget."""
    if not study.batches:
        return "no size and budget has optima at two batches"
    return None


@styled
def draw(study: Study) -> Figure:
    """Losses of one size above the budget's best; beside them both batches of all sizes."""
    grown = [place for place in _best(study) + _critical(study) if place[1] is not None]
    figure, axes = panels(2 if grown else 1, below=BELOW)
    _losses(study, axes[0])
    if grown:
        _growth(study, axes[1])
    return figure


def _losses(study: Study, axes: Axes) -> None:
    N = grid.fullest_size(study)
    every = [one for one in study.batches if one.N == N]
    budgets = some([one.T for one in every])
    shown = [one for one in every if one.T in budgets]
    for rank, one in enumerate(shown):
        style, floor = look(rank, len(shown)), float(one.loss.min())
        axes.plot(one.batch_tokens / 4096, one.loss - floor, **style)
        if one.best is not None and one.best_loss is not None:
            axes.plot(
                one.best / 4096,
                one.best_loss - floor,
                "*",
                color=style["color"],
                ms=12,
                mec="white",
                mew=0.8,
                zorder=4,
            )
    axes.axhline(TOLERANCE, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set(
        title=f"(a) N = {short(N)}",
        xlabel="batch β (sequences of 4096)",
        ylabel="loss above the budget's best (nats)",
    )
    log_axis(axes.xaxis, np.concatenate([one.batch_tokens for one in shown]) / 4096)
    few_ticks(axes.yaxis)
    handles = [key(short(one.T), **look(i, len(shown))) for i, one in enumerate(shown)]
    under(axes, handles, "tokens T")


def _growth(study: Study, axes: Axes) -> None:
    looks = (
        ("best batch", _best(study), {"color": INK, "marker": "*", "markersize": 11}),
        ("critical batch", _critical(study), {"color": LAW, "marker": "s"}),
    )
    handles, values = [], []
    for name, places, style in looks:
        known = [(T, batch / 4096) for T, batch in places if batch is not None]
        if not known:
            continue
        axes.plot(*zip(*known, strict=True), linestyle="none", **style)
        values += [batch for _, batch in known]
        law = growing(places)
        if law is not None:
            ends = np.array([min(T for T, _ in known), max(T for T, _ in known)])
            axes.plot(ends, law.coefficient * ends**law.exponent / 4096, color=style["color"], linewidth=1.4)
            name = f"{name} $\\propto T^{{{law.exponent:.2f}}}$"
        handles.append(key(name, **style, linestyle="none" if law is None else "-"))
    axes.set(title="(b) all sizes", xlabel="tokens T", ylabel="batch β (sequences of 4096)")
    count_axis(axes.xaxis, [one.T for one in study.batches])
    log_axis(axes.yaxis, values, margin=0.12)
    under(axes, handles, "")


def says(study: Study) -> str:
    """Both growth laws with their definitions."""
    parts = [
        _told("best", "the lowest point of a parabola in log batch", _best(study)),
        _told("critical", f"the largest within {TOLERANCE:g} nats of the best, dotted", _critical(study)),
    ]
    return f"Every loss is that of the batch's own best rate. {' '.join(parts)}"


def _told(name: str, definition: str, places: list[tuple[float, float | None]]) -> str:
    known = [(T, batch) for T, batch in places if batch is not None]
    enclosed = f"{len(known)} of {len(places)} budgets enclose it"
    if not known:
        return f"The {name} batch ({definition}): none of the {len(places)} budgets encloses it."
    law: Growth | None = growing(places)
    if law is None:
        told = joined([f"{short(batch)} tokens at T = {short(T)}" for T, batch in known])
        return f"The {name} batch ({definition}) is {told}; {enclosed}."
    return (
        f"The {name} batch ({definition}) grows as T^{law.exponent:.3f}{interval(law.interval)}; {enclosed}."
    )


def _best(study: Study) -> list[tuple[float, float | None]]:
    return [(one.T, one.best) for one in study.batches]


def _critical(study: Study) -> list[tuple[float, float | None]]:
    return [(one.T, one.critical) for one in study.batches]


PICTURE = Picture(
    name="time_b_loss_and_batch",
    title="Time Transfer (b). Best and critical batch",
    lacks=lacks,
    draw=draw,
    says=says,
)
