"""Figure 3: the best learning rate against the batch, a line for each budget."""

from __future__ import annotations

from matplotlib.figure import Figure

from pretrain.laws.figures.by_size import lines_by_size
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import guide, log_axis, styled
from pretrain.laws.figures.words import power, short


def lacks(study: Study) -> str | None:
    """Two batches at one size and budget."""
    places = [(one.cell.N, one.cell.T) for one in study.found]
    if len(set(places)) == len(places):
        return "no size and budget has optima at two batches"
    return None


@styled
def draw(study: Study) -> Figure:
    """A panel a size; the dotted line is lr in proportion to the batch."""
    figure, axes, _ = lines_by_size(
        study,
        x=lambda one: one.cell.beta,
        y=lambda one: one.lr,
        series=lambda one: one.cell.T,
        name=short,
        title="T (tokens)",
    )
    betas = [one.cell.beta for one in study.found]
    low, high = min(betas), max(betas)
    middle = sorted(one.lr for one in study.found)[len(study.found) // 2]
    centre = (low * high) ** 0.5
    for one in axes:
        one.set(xlabel="batch β (sequences of 4096)", ylabel="best learning rate η*")
        log_axis(one.xaxis, betas, margin=0.12)
        guide(one, [low, high], [middle * low / centre, middle * high / centre], "∝ β")
    return figure


def says(study: Study) -> str:
    """The exponent of the batch, and the verdict on it."""
    general = study.fit.general
    told = None if general is None else power("batch", general.batch)
    exponent = f"Over all {len(study.found)} optima η* goes as {told}. " if told else ""
    return (
        f"{exponent}In proportion to the batch: {study.fit.verdict.batch_linear.words}. Filled points are "
        "the three best batches of their budget; bars are standard errors."
    )


PICTURE = Picture(
    name="figure_3_rate_and_batch",
    title="Figure 3. Best learning rate against batch",
    lacks=lacks,
    draw=draw,
    says=says,
)
