"""Figure 6: the best exponent of the power schedule against tokens, a line for each batch."""

from __future__ import annotations

from matplotlib.figure import Figure

from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import count_axis, few_ticks, guide, key, legend, look, panels, some, styled
from pretrain.laws.figures.words import short
from pretrain.laws.power_constants import ConstantRun

PAPER = -0.51


def lacks(study: Study) -> str | None:
    """Best exponents at two budgets."""
    if not study.constants:
        return "no run varies the power schedule's constants (columns amplitude and exponent)"
    if len({run.T for run in _known(study)}) < 2:
        return "fewer than two budgets have a best exponent inside of those tried"
    return None


@styled
def draw(study: Study) -> Figure:
    """All sizes in one panel: what varies is the budget and the batch."""
    runs = _known(study)
    figure, (axes,) = panels(1)
    betas = some([run.beta for run in runs])
    for rank, beta in enumerate(betas):
        for N in sorted({run.N for run in runs}):
            line = sorted((run.T, run.best_exponent or 0.0) for run in runs if (run.beta, run.N) == (beta, N))
            axes.plot([T for T, _ in line], [b for _, b in line], **look(rank, len(betas)))
    budgets = [run.T for run in runs]
    axes.set(xlabel="tokens T", ylabel="best exponent b")
    count_axis(axes.xaxis, budgets)
    few_ticks(axes.yaxis)
    guide(axes, [min(budgets), max(budgets)], [PAPER, PAPER], "paper")
    legend(
        figure, [key(f"{beta:.3g}", **look(i, len(betas))) for i, beta in enumerate(betas)], title="batch β"
    )
    return figure


def says(study: Study) -> str:
    """The range of the best exponents."""
    best = [run.best_exponent or 0.0 for run in _known(study)]
    budgets = [run.T for run in _known(study)]
    left = len(study.constants) - len(best)
    edge = f" {left} more have their best exponent at the edge of those tried, or too few." if left else ""
    return (
        f"The best exponent is between {min(best):.3f} and {max(best):.3f}, {sum(best) / len(best):.3f} on "
        f"average, over {len(best)} (budget, batch) from {short(min(budgets))} to "
        f"{short(max(budgets))} tokens.{edge} The paper found -0.53 to -0.49 and chose -0.51."
    )


def _known(study: Study) -> list[ConstantRun]:
    return [run for run in study.constants if run.best_exponent is not None]


PICTURE = Picture(
    name="figure_6_best_exponent",
    title="Figure 6. The best exponent against tokens",
    lacks=lacks,
    draw=draw,
    says=says,
)
