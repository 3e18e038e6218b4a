"""Figure 1: learning rates of cosine, WSD and power schedules with the constants of these results."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from megatron_lite.schedules.base import LearningRate, Schedule
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.cosine import Cosine
from megatron_lite.schedules.power import Power
from megatron_lite.schedules.wsd import Wsd
from pretrain.laws.figures import grid
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.style import LAW, count_axis, key, legend, log_axis, look, panels, some, styled
from pretrain.laws.figures.words import interval, rate, short

WARM, TAIL = 0.01, 0.1  # of the budget; the tail as in the paper's sweep
PLACES = 400
NAMES = ("cosine", "WSD", "power")


def lacks(study: Study) -> str | None:
    """A law is needed to draw its schedule."""
    if study.fit.schedule is None:
        return f"the results give no power law ({'; '.join(study.fit.missing) or 'no optima'})"
    return None


@styled
def draw(study: Study) -> Figure:
    """One budget on linear axes; every budget's plateau beside the power curve on log axes."""
    N, batch = _where(study)
    budgets = sorted({one.cell.T for one in study.of(N=N, batch=batch)})
    figure, (left, right) = panels(2)
    looks = [{**look(rank, 3), "marker": "", "lw": 2.0} for rank in range(3)]
    looks[2] |= {"color": LAW, "linestyle": "-"}
    T = budgets[-1]
    for name, style in zip(NAMES, looks, strict=True):
        n = np.linspace(0, T, PLACES)
        lr = _schedule(study, name, T, batch)
        left.plot(n, [lr(int(one)) for one in n], **style)
    left.set(title=f"(a) {short(T)} tokens", ylabel="learning rate η", xlabel="tokens trained n")
    left.set_ylim(bottom=0)
    left.xaxis.set_major_formatter(lambda value, _: short(value) if value else "0")
    left.locator_params(axis="x", nbins=5)
    left.set_xlim(0, T)
    _budgets(study, right, batch, budgets, (looks[1], looks[2]))
    legend(figure, [key(name, **style) for name, style in zip(NAMES, looks, strict=True)])
    return figure


def _budgets(study: Study, axes: Axes, batch: float, budgets: list[float], looks: tuple[dict, dict]) -> None:
    start = budgets[0] / 8
    shown: list[float] = []
    for T in some(budgets, 5):
        lr = _schedule(study, "WSD", T, batch, warm_until=start)
        n = np.geomspace(start, T * 0.9999, PLACES)
        rates = [lr(int(one)) for one in n]
        axes.plot(n, np.maximum(rates, 1e-12), **{**looks[0], "lw": 1.2})
        shown.append(max(rates))
    lr = _schedule(study, "power", budgets[-1], batch, warm_until=start)
    n = np.geomspace(start, budgets[-1] * 0.9999, PLACES)
    curve = [lr(int(one)) for one in n]
    axes.plot(n, curve, **looks[1])
    axes.set(title="(b) every length", xlabel="tokens trained n", ylabel="learning rate η")
    count_axis(axes.xaxis, [start, *budgets])
    log_axis(axes.yaxis, [min(shown) / 2, max(*shown, *curve)])


def says(study: Study) -> str:
    """The constants, and the peaks that are drawn."""
    N, batch = _where(study)
    law = study.fit.together
    assert law is not None
    T = max(one.cell.T for one in study.of(N=N, batch=batch))
    return (
        f"Power: lr = β · {law.amplitude:.3g} · n^{law.exponent:.3f}{interval(law.exponent_interval)}, "
        f"capped at {rate(study.fit.highest_lr)}, the highest optimum found; β = {batch / 4096:.3g}. In (a) "
        f"WSD and cosine peak where the law has its optimum for {short(T)} tokens, "
        f"{rate(_peak(study, T, batch))}; a cosine's own best peak is not in these results. In (b) WSD takes "
        f"another height for every length, power is one curve. Tails take the last {TAIL:.0%}."
    )


def _where(study: Study) -> tuple[float, float]:
    N = grid.fullest_size(study)
    return N, grid.fullest_batch(study, N)


def _peak(study: Study, T: float, batch: float) -> float:
    assert study.fit.together is not None
    return study.fit.together.gamma(T) * batch / 4096


def _schedule(
    study: Study, name: str, T: float, batch: float, warm_until: float | None = None
) -> LearningRate:
    peak, warm, tail = _peak(study, T, batch), int(warm_until or WARM * T), int(TAIL * T)
    law = study.fit.schedule
    assert law is not None
    chosen: Schedule
    if name == "power":
        cap = study.fit.highest_lr
        chosen = Power(
            lr_max=cap, amplitude=law.amplitude, exponent=law.exponent, warmup_tokens=warm, decay_tokens=tail
        )
    elif name == "WSD":
        chosen = Wsd(lr_max=peak, warmup_tokens=warm, decay_tokens=tail)
    else:
        chosen = Cosine(lr_max=peak, warmup_tokens=warm)
    return chosen.bind(batch=ConstantBatch(batch_tokens=round(batch)), total_tokens=round(T))


PICTURE = Picture(name="figure_1_schedules", title="Figure 1. Schedules", lacks=lacks, draw=draw, says=says)
