"""Figure 2: loss against learning rate, for every budget at one batch and every batch at one budget."""

from __future__ import annotations

from matplotlib.figure import Figure

from pretrain.laws.cells import Cell
from pretrain.laws.figures import grid
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import BELOW, few_ticks, key, look, panels, some, styled, under
from pretrain.laws.figures.valley import Valley, draw_valleys
from pretrain.laws.figures.words import joined, rate, short
from pretrain.laws.optimum import Optimum


def lacks(study: Study) -> str | None:
    """One optimum with neighbours is something to see."""
    if not study.found:
        return "no (size, budget, batch) has its best learning rate inside of the rates tried"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel for each of the two that has more than one series, or the first alone."""
    parts = _parts(study)
    figure, axes = panels(len(parts), below=BELOW)
    for one, (title, of, cells) in zip(axes, parts, strict=True):
        chosen = some([_value(cell, of) for cell in cells])
        shown = [cell for cell in cells if _value(cell, of) in chosen]
        labels = [short(_value(cell, of)) if of == "T" else f"{cell.beta:.3g}" for cell in shown]
        valleys = [
            Valley(label=label, cell=cell, optimum=_optimum(study, cell))
            for label, cell in zip(labels, shown, strict=True)
        ]
        draw_valleys(one, valleys)
        one.set(title=title, ylabel="loss (nats per token)")
        few_ticks(one.yaxis)
        handles = [key(label, **look(rank, len(labels))) for rank, label in enumerate(labels)]
        under(one, handles, "tokens T" if of == "T" else "batch β (sequences of 4096)")
    return figure


def says(study: Study) -> str:
    """How the best rate moves in either panel."""
    parts = []
    N = grid.fullest_size(study)
    for title, of, cells in _parts(study):
        found = [one for cell in cells if (one := _optimum(study, cell)) is not None]
        first, last = found[0], found[-1]
        if len(found) == 1:
            parts.append(f"{title}: best rate {rate(first.lr)}, loss {first.loss:.4f}")
            continue
        ends = [short(_value(one.cell, of)) if of == "T" else f"{one.cell.beta:.3g}" for one in (first, last)]
        name = "T" if of == "T" else "β"
        parts.append(
            f"{title}: the best rate goes from {rate(first.lr)} at {name} = {ends[0]} "
            f"to {rate(last.lr)} at {ends[1]}"
        )
    return (
        f"{short(N)} parameters. {joined(parts)}. Stars are the lowest points of parabolas in log η; "
        "open triangles lie above the panel, crosses diverged."
    )


def _parts(study: Study) -> list[tuple[str, str, list[Cell]]]:
    N = grid.fullest_size(study)
    batch, T = grid.fullest_batch(study, N), grid.fullest_budget(study, N)
    by_budget = (
        f"batch {short(batch)} (β = {batch / 4096:.3g})",
        "T",
        grid.cells_of(study, N=N, batch=batch),
    )
    by_batch = (f"T = {short(T)} tokens", "batch", grid.cells_of(study, N=N, T=T))
    several = [part for part in (by_budget, by_batch) if len(part[2]) > 1] or [by_budget]
    letters = ("(a) ", "(b) ") if len(several) > 1 else ("",)
    return [(f"{letter}{part[0]}", *part[1:]) for letter, part in zip(letters, several, strict=True)]


def _value(cell: Cell, of: str) -> float:
    return cell.T if of == "T" else cell.batch_tokens


def _optimum(study: Study, cell: Cell) -> Optimum | None:
    return next((one for one in study.found if one.cell is cell), None)


PICTURE = Picture(
    name="figure_2_loss_and_rate",
    title="Figure 2. Loss against learning rate",
    lacks=lacks,
    draw=draw,
    says=says,
)
