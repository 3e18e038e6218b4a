"""Figure 4: the best rate per sequence of the batch, gamma = eta / beta, against tokens: the power law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import (
    INK,
    LAW,
    MOST_PANELS,
    SOFT,
    count_axis,
    key,
    legend,
    log_axis,
    look,
    panels,
    some,
    styled,
)
from pretrain.laws.figures.words import interval, short
from pretrain.laws.power_fit import PowerLaw

PAPER = (4.6, -0.51)  # arXiv 2408.13359, eq. 5
NEAR = 3.0  # a factor, within which the paper's law is drawn beside these


def lacks(study: Study) -> str | None:
    """A line takes two budgets."""
    if study.fit.together is None:
        return "fewer than two token budgets have an optimum, and a power law of T is a line through several"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel a size with all batches, and one of the averages with every law."""
    sizes = some(study.sizes, MOST_PANELS - 1)
    alone = len(study.sizes) == 1
    figure, axes = panels(len(sizes) + (0 if alone else 1), share=not alone, below=1.0)
    betas = some([one.cell.beta for one in study.found])
    together = study.fit.together
    assert together is not None
    for one, N in zip(axes, sizes, strict=False):
        _size(study, one, N, betas)
    averages = axes[0] if alone else axes[-1]
    if not alone:
        _averages(study, averages)
    span = [point.T for point in study.fit.points]
    paper = PAPER[0] * np.array([min(span), max(span)]) ** PAPER[1]
    ours = np.array([together.gamma(min(span)), together.gamma(max(span))])
    near = bool((np.abs(np.log(paper / ours)) < np.log(NEAR)).any())
    for one in axes:
        if near:
            one.plot([min(span), max(span)], paper, color=SOFT, linestyle=(0, (1, 2)), linewidth=1.2)
        one.set(xlabel="tokens T", ylabel="γ = η* / β")
        count_axis(one.xaxis, span)
        log_axis(one.yaxis, [o.gamma for o in study.found])
    handles = [
        key(f"β {beta:.3g}", **{**look(i, len(betas)), "linestyle": "none"}) for i, beta in enumerate(betas)
    ]
    handles.append(
        key("mean of the three best", color=INK, marker="_", markersize=11, mew=2.2, linestyle="none")
    )
    handles.append(key("law", color=LAW, lw=2))
    if near:
        handles.append(key(r"paper: $4.6\,T^{-0.51}$", color=SOFT, linestyle=(0, (1, 2))))
    legend(figure, handles)
    return figure


def _size(study: Study, axes: Axes, N: float, betas: Sequence[float]) -> None:
    best = {(point.T, batch) for point in study.fit.points if point.N == N for batch in point.batches}
    for one in study.of(N=N):
        if one.cell.beta not in betas:
            continue
        style = look(betas.index(one.cell.beta), len(betas))
        filled = (one.cell.T, one.cell.batch_tokens) in best
        face = style["color"] if filled else "white"
        axes.plot(
            one.cell.T, one.gamma, marker=style["marker"], color=style["color"], mfc=face, ls="none", ms=4.5
        )
    for point in study.fit.points:
        if point.N == N:
            axes.plot(point.T, point.gamma, marker="_", color=INK, markersize=13, mew=2.2, zorder=4)
    law = study.fit.by_size.get(N)
    if law is not None:
        _line(study, axes, law)
    told = "" if law is None else f": {_formula(law)}"
    axes.set_title(f"N = {short(N)}{told}")


def _averages(study: Study, axes: Axes) -> None:
    assert study.fit.together is not None
    for rank, N in enumerate(study.sizes):
        style = {**look(rank, len(study.sizes)), "linestyle": "none"}
        points = [point for point in study.fit.points if point.N == N]
        axes.plot([p.T for p in points], [p.gamma for p in points], **style, label=short(N))
    _line(study, axes, study.fit.together)
    axes.legend(title="N", loc="lower left", handletextpad=0.2, fontsize=9.5)
    axes.set_title(f"together: {_formula(study.fit.together)}")


def _line(study: Study, axes: Axes, law: PowerLaw) -> None:
    ends = np.array([min(p.T for p in study.fit.points), max(p.T for p in study.fit.points)])
    axes.plot(ends, [law.gamma(T) for T in ends], color=LAW, linewidth=2, zorder=3)


def _formula(law: PowerLaw) -> str:
    return rf"${law.amplitude:.3g}\,T^{{{law.exponent:.3f}}}$"


def says(study: Study) -> str:
    """Every law with its interval, and the verdict."""
    laws = [(short(N), law) for N, law in study.fit.by_size.items()]
    if len(laws) != 1:
        assert study.fit.together is not None
        laws.append(("together", study.fit.together))
    told = "; ".join(
        f"{name}: γ = {law.amplitude:.3g}{interval(law.amplitude_interval, '.3g')} T^{law.exponent:.3f}"
        f"{interval(law.exponent_interval)}"
        for name, law in laws
    )
    words = study.fit.verdict.one_law.words
    return f"{told}. One law for all sizes: {words}. The paper found 4.6 T^-0.51."


PICTURE = Picture(
    name="figure_4_gamma", title="Figure 4. The power law of η / β", lacks=lacks, draw=draw, says=says
)
