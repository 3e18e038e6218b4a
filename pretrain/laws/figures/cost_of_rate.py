"""Time Transfer (c): what a factor of 2 in the learning rate costs, against tokens and against the size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import (
    BELOW,
    count_axis,
    key,
    log_axis,
    look,
    panels,
    some,
    styled,
    under,
)
from pretrain.laws.figures.words import joined, power, short
from pretrain.laws.sensitivity import Cost


def lacks(study: Study) -> str | None:
    """Costs at two budgets, or at two sizes."""
    costs = study.sensitivity.costs
    if not costs:
        return "no (size, budget, batch) has its best learning rate inside of the rates tried"
    if len({cost.T for cost in costs}) < 2 and len({cost.N for cost in costs}) < 2:
        return "there is one budget and one size: nothing that the cost of a wrong rate could change with"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel against tokens and one against the size, whichever varies."""
    costs = study.sensitivity.costs
    parts = [of for of in ("T", "N") if len({getattr(cost, of) for cost in costs}) > 1]
    figure, axes = panels(len(parts), below=BELOW)
    for one, of in zip(axes, parts, strict=True):
        _against(one, costs, of, "N" if of == "T" else "T")
    for one in axes:
        one.set_ylabel("cost of a factor 2 in η (nats)")
        log_axis(one.yaxis, [cost.rise for cost in costs], margin=0.1, decimal=True)
    return figure


def _against(axes: Axes, costs: Sequence[Cost], of: str, series: str) -> None:
    values = some([getattr(cost, series) for cost in costs])
    for rank, value in enumerate(values):
        style = look(rank, len(values))
        inside = [cost for cost in costs if getattr(cost, series) == value]
        places = sorted({getattr(cost, of) for cost in inside})
        means = [np.exp(np.mean([np.log(c.rise) for c in inside if getattr(c, of) == x])) for x in places]
        axes.plot(places, means, **style, zorder=3)
        axes.plot(
            [getattr(c, of) for c in inside],
            [c.rise for c in inside],
            ".",
            color=style["color"],
            alpha=0.5,
            ms=4,
            zorder=2,
        )
    axes.set_xlabel("tokens T" if of == "T" else "parameters N")
    count_axis(axes.xaxis, [getattr(cost, of) for cost in costs])
    handles = [key(short(value), **look(i, len(values))) for i, value in enumerate(values)]
    under(axes, handles, "parameters N" if series == "N" else "tokens T")


def says(study: Study) -> str:
    """The exponents of the cost."""
    found, costs = study.sensitivity, study.sensitivity.costs
    rises = [cost.rise for cost in costs]
    named = (power("T", found.tokens), power("batch", found.batch), power("N", found.size))
    told = [one for one in named if one]
    law = f", and goes as {joined(told)}" if told else ""
    return (
        f"Twice or half the best rate costs {min(rises):.4f} to {max(rises):.4f} nats (mean of both){law}. "
        "Small points are single batches, lines their geometric mean."
    )


PICTURE = Picture(
    name="time_c_sensitivity",
    title="Time Transfer (c). What a wrong learning rate costs",
    lacks=lacks,
    draw=draw,
    says=says,
)
