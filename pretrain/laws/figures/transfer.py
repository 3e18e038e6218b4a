"""Time Transfer (d): loss against learning rate for all sizes at once, and their best rates against size."""

from __future__ import annotations

from collections import Counter

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.cells import Cell
from pretrain.laws.figures.grid import cells_of
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import (
    BELOW,
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
from pretrain.laws.figures.valley import Valley, draw_valleys
from pretrain.laws.figures.words import power, short, slope
from pretrain.laws.optimum import Optimum


def lacks(study: Study) -> str | None:
    """Two sizes at one budget and batch."""
    if not study.found:
        return "no (size, budget, batch) has its best learning rate inside of the rates tried"
    if len(_sizes(study)) < 2:
        return "no budget and batch has optima at two sizes"
    return None


@styled
def draw(study: Study) -> Figure:
    """Losses above each size's best, and the best rates of that batch."""
    T, batch = _where(study)
    cells = cells_of(study, T=T, batch=batch)
    chosen = some([cell.N for cell in cells])
    shown = [cell for cell in cells if cell.N in chosen]
    figure, (left, right) = panels(2, below=BELOW)
    valleys = [_valley(study, cell) for cell in shown]
    draw_valleys(left, valleys)
    left.set(title=f"(a) T = {short(T)}, β = {batch / 4096:.3g}", ylabel="loss above the size's best (nats)")
    few_ticks(left.yaxis)
    handles = [key(one.label, **look(i, len(valleys))) for i, one in enumerate(valleys)]
    under(left, handles, "parameters N")
    _best_rates(study, right, batch)
    return figure


def _best_rates(study: Study, axes: Axes, batch: float) -> None:
    ones = study.of(batch=batch)
    budgets = some([one.cell.T for one in ones], 5)
    for rank, T in enumerate(budgets):
        line = sorted(study.of(T=T, batch=batch), key=lambda one: one.cell.N)
        errors = [one.lr * one.log_lr_se if one.log_lr_se == one.log_lr_se else 0.0 for one in line]
        style = look(rank, len(budgets))
        axes.errorbar([o.cell.N for o in line], [o.lr for o in line], yerr=errors, elinewidth=1, **style)
    axes.set(title="(b) best rates", xlabel="parameters N", ylabel="best learning rate η*")
    count_axis(axes.xaxis, [one.cell.N for one in ones])
    rates = [one.lr for one in ones]
    middle = (min(rates) * max(rates)) ** 0.5
    log_axis(axes.yaxis, [min(min(rates), middle / 2), max(max(rates), middle * 2)])
    handles = [key(short(T), **look(i, len(budgets))) for i, T in enumerate(budgets)]
    under(axes, handles, "tokens T")


def _valley(study: Study, cell: Cell) -> Valley:
    one = next((one for one in study.found if one.cell is cell), None)
    floor = float(cell.loss.min()) if one is None else one.loss
    return Valley(label=short(cell.N), cell=cell, optimum=one, floor=floor)


def says(study: Study) -> str:
    """The exponent of N, and the range of best rates."""
    T, batch = _where(study)
    line = _sizes(study)
    rates = [one.lr for one in line]
    general = study.fit.general
    told = None if general is None else power("N", general.size)
    together = f" Over all {len(study.found)} optima η* goes as {told}." if told else ""
    exponent = slope([one.cell.N for one in line], rates)
    return (
        f"At T = {short(T)} and a batch of {short(batch)} the best rates of {len(line)} sizes lie within a "
        f"factor of {max(rates) / min(rates):.2f} (exponent of N {exponent:.3f}).{together} Independent of "
        f"the size: {study.fit.verdict.size_free.words}."
    )


def _where(study: Study) -> tuple[float, float]:
    """The budget and batch with the most sizes; of several the batch with the most optima."""
    sizes = Counter((one.cell.T, one.cell.batch_tokens) for one in study.found)
    optima = Counter(one.cell.batch_tokens for one in study.found)
    return max(sizes, key=lambda place: (sizes[place], optima[place[1]], place))


def _sizes(study: Study) -> list[Optimum]:
    T, batch = _where(study)
    return study.of(T=T, batch=batch)


PICTURE = Picture(
    name="time_d_transfer",
    title="Time Transfer (d). One learning rate for all sizes",
    lacks=lacks,
    draw=draw,
    says=says,
)
