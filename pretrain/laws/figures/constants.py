"""Figure 5: the loss against the power schedule's amplitude and exponent at one budget, a line a batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import few_ticks, key, legend, look, panels, some, styled
from pretrain.laws.figures.words import short
from pretrain.laws.power_constants import ConstantRun, spread
from pretrain.laws.table import Array

NAMES = {"amplitude": "amplitude a", "exponent": "exponent b"}


def lacks(study: Study) -> str | None:
    """Runs that vary a constant of the power schedule."""
    if not study.constants:
        return "no run varies the power schedule's constants (columns amplitude and exponent)"
    if not _varied(_shown(study)):
        return "no size, budget and batch has runs at two values of the power schedule's constants"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel for each constant that varies; over the other one the lowest loss counts."""
    runs = _shown(study)
    varied = _varied(runs)
    figure, axes = panels(len(varied))
    betas = some([run.beta for run in runs])
    for one, name in zip(axes, varied, strict=True):
        for run in runs:
            if run.beta in betas:
                values, losses = _profile(run, name)
                one.plot(values, losses, **look(betas.index(run.beta), len(betas)))
        one.set(xlabel=NAMES[name], ylabel="loss (nats per token)")
        one.set_title(f"({'ab'[varied.index(name)]}) T = {short(runs[0].T)} tokens")
        few_ticks(one.yaxis)
        few_ticks(one.xaxis, 6)
    limits = [one.get_ylim() for one in axes]
    for one in axes:  # one scale, or noise over the flat one would look like its shape
        one.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    legend(
        figure, [key(f"{beta:.3g}", **look(i, len(betas))) for i, beta in enumerate(betas)], title="batch β"
    )
    return figure


def says(study: Study) -> str:
    """How flat either constant is."""
    runs = _shown(study)
    told = [
        f"over the values of {NAMES[name]} tried the loss moves by up to {_spread(runs, name):.4f} nats "
        f"({np.expm1(_spread(runs, name)):.2%} of perplexity)"
        for name in _varied(runs)
    ]
    best = [run.best_exponent for run in runs if run.best_exponent is not None]
    where = f" The best exponent lies between {min(best):.3f} and {max(best):.3f}." if best else ""
    return f"At {short(runs[0].T)} tokens, N = {short(runs[0].N)}: {'; '.join(told)}.{where}"


def _shown(study: Study) -> list[ConstantRun]:
    """One size and budget: with the most batches, then the largest."""
    counted = Counter((run.N, run.T) for run in study.constants if run.loss.size > 1)
    if not counted:
        return []
    N, T = max(counted, key=lambda place: (counted[place], place))
    return [run for run in study.constants if (run.N, run.T) == (N, T)]


def _varied(runs: list[ConstantRun]) -> list[str]:
    return [name for name in NAMES if any(_profile(run, name)[0].size > 1 for run in runs)]


def _profile(run: ConstantRun, name: str) -> tuple[Array, Array]:
    return run.over_amplitude() if name == "amplitude" else run.over_exponent()


def _spread(runs: list[ConstantRun], name: str) -> float:
    return spread(runs, lambda run: _profile(run, name))


PICTURE = Picture(
    name="figure_5_constants",
    title="Figure 5. The power schedule's constants",
    lacks=lacks,
    draw=draw,
    says=says,
)
