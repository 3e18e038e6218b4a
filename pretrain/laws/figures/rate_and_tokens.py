"""Time Transfer (a): the best learning rate against tokens, a line a batch, with guides of its regimes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pretrain.laws.figures.by_size import lines_by_size
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import count_axis, guide, styled
from pretrain.laws.figures.words import power, slope

REGIMES = ((0.5, "√T"), (0.0, "1"), (-0.5, "1/√T"))


def lacks(study: Study) -> str | None:
    """Two budgets at one size and batch."""
    if not _slopes(study):
        return "no size and batch has optima at two token budgets"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel a size."""
    figure, axes, _ = lines_by_size(
        study,
        x=lambda one: one.cell.T,
        y=lambda one: one.lr,
        series=lambda one: one.cell.beta,
        name=lambda beta: f"{beta:.3g}",
        title="batch β (sequences of 4096)",
    )
    for one in axes:
        one.set(xlabel="tokens T", ylabel="best learning rate η*")
        count_axis(one.xaxis, [o.cell.T for o in study.found])
        _guides(study, one)
    return figure


def _guides(study: Study, axes: Axes) -> None:
    """Three slopes from one corner, over a third of the axis."""
    left, right = axes.get_xlim()
    rates = [one.lr for one in study.found]
    start, low = left * (right / left) ** 0.04, axes.get_ylim()[0]
    end = start * (right / left) ** 0.25
    high = max(rates) * 1.0
    foot = low * (high / low) ** 0.16
    for exponent, text in REGIMES:
        guide(axes, [start, end], [foot, foot * (end / start) ** exponent], text)
    axes.set_xlim(left, right)
    axes.set_ylim(min(low, foot * (end / start) ** -0.5 / 1.15), axes.get_ylim()[1])


def says(study: Study) -> str:
    """The exponent of T over everything, and its range over the batches."""
    general = study.fit.general
    told = None if general is None else power("T", general.tokens)
    together = f"Over all {len(study.found)} optima η* goes as {told}. " if told else ""
    slopes = _slopes(study)
    return (
        f"{together}Line by line the exponent of T runs from {min(slopes):.2f} to {max(slopes):.2f} over "
        f"{len(slopes)} lines; Time Transfer's regimes at a fixed batch are +1/2, 0 and -1/2, dotted."
    )


def _slopes(study: Study) -> list[float]:
    lines = {(one.cell.N, one.cell.batch_tokens) for one in study.found}
    members = [study.of(N=N, batch=batch) for N, batch in sorted(lines)]
    return [slope([o.cell.T for o in ones], [o.lr for o in ones]) for ones in members if len(ones) > 1]


PICTURE = Picture(
    name="time_a_rate_and_tokens",
    title="Time Transfer (a). Best learning rate against tokens",
    lacks=lacks,
    draw=draw,
    says=says,
)
