"""From loss curves to a law: what can be asked of them, the fit, its scores, and how far to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.errors import UserError
from pretrain.laws import curve_fit
from pretrain.laws.annealing import MEMORY
from pretrain.laws.curve_fit import Fitted, Points, Space
from pretrain.laws.curve_laws import Kind, Law, kind
from pretrain.laws.curve_scores import score
from pretrain.laws.curves import Curve, Floats
from pretrain.laws.fitted_law import CurveReport, FittedLaw

MOST_POINTS = 250  # of a curve; more are averaged, which takes noise out and costs nothing else
COARSE_POINTS = 30  # of a curve, where starts are compared
FEWEST_POINTS = 10  # over all curves: more than a law has constants
LEAST_FALL = 0.05  # of the peak, below which a curve says nothing about falling rates
REFIT_TOLERANCE = 1e-5  # of a refit, whose spread is what counts
NUM_RUNS = 8  # of neighbouring points that a curve's residuals are resampled in, as they hang together


@dataclass(frozen=True, kw_only=True)
class Task:
    """Curves in a law's units."""

    kind: Kind
    curves: Sequence[Curve]
    peak: float
    length: int

    @property
    def space(self) -> Space:
        """Where to look."""
        return self.kind.space(min(float(curve.losses.min()) for curve in self.curves))

    def points(self, most: int = MOST_POINTS) -> Points:
        """At most so many of each curve."""
        thin = [curve.thinned(most) for curve in self.curves]
        return Points(
            curves=[self.kind.prepared(curve, self.peak, self.length) for curve in thin],
            losses=np.concatenate([curve.losses for curve in thin]),
        )

    def fit(self) -> Fitted:
        """The best of many starts."""
        return curve_fit.fit(self.points(), self.space, self.points(COARSE_POINTS))

    def law(self, fitted: Fitted) -> Law:
        """In rates and updates as they are."""
        return self.kind.from_units(fitted.theta, self.peak, self.length)


def fit_law(
    curves: Sequence[Curve],
    name: str = "mpl",
    *,
    memory: float = MEMORY,
    num_refits: int = 20,
    batch_tokens: int | None = None,
    seed: int = 0,
) -> FittedLaw:
    """The law `mpl` or `annealing` of some curves; UserError where they cannot tell its constants.

    `memory` is the annealing law's. With two curves and more each is also predicted by a fit to the others.
    """
    check(curves)
    task = _task(curves, kind(name, memory))
    fitted = task.fit()
    law = task.law(fitted)
    reports = tuple(report(curve, law) for curve in curves)
    left_out = tuple(_left_out(task)) if len(curves) > 1 else ()
    seen = left_out or reports
    return FittedLaw(
        law=law,
        refits=tuple(_refits(task, fitted, num_refits, np.random.default_rng(seed))),
        relative_error=float(np.sqrt(np.mean([one.relative_rmse**2 for one in seen]))),
        objective=fitted.objective,
        fitted=reports,
        left_out=left_out,
        batch_tokens=batch_tokens,
        notes=tuple(_notes(task, fitted, left_out)),
    )


def check(curves: Sequence[Curve]) -> None:
    """UserError where no law can be told from these curves."""
    if not curves:
        raise UserError("no curves; give at least one file with step, lr and loss")
    points = sum(len(curve.steps) for curve in curves)
    if points < FEWEST_POINTS:
        raise UserError(f"{points} losses in all cannot tell a law's constants; at least {FEWEST_POINTS} can")
    if max(map(_fall, curves)) < LEAST_FALL:
        names = ", ".join(curve.name for curve in curves)
        raise UserError(
            f"in no curve does the learning rate fall ({names}), and so nothing tells what a fall does; "
            "add one with a decay, such as cosine or WSD"
        )
    for curve in curves:
        early, late = np.array_split(curve.losses, 2) if len(curve.losses) > 1 else (curve.losses,) * 2
        if np.median(late) > 1.02 * np.median(early):
            raise UserError(
                f"{curve.name}: the loss rises from about {np.median(early):.4g} in its first half to "
                f"{np.median(late):.4g} in its second: a run that diverged says "
                "nothing about the others; leave it out"
            )


def report(curve: Curve, law: Law) -> CurveReport:
    """How well a law does on a curve."""
    return CurveReport(
        name=curve.name,
        first_step=int(curve.steps[0]),
        last_step=int(curve.steps[-1]),
        points=len(curve.steps),
        peak_lr=curve.peak,
        mean_loss=float(curve.losses.mean()),
        scores=score(law.losses(curve.rates, curve.steps), curve.losses),
    )


def _task(curves: Sequence[Curve], of: Kind) -> Task:
    peak, length = max(curve.peak for curve in curves), max(len(curve.rates) - 1 for curve in curves)
    return Task(kind=of, curves=curves, peak=peak, length=length)


def _fall(curve: Curve) -> float:
    """The share of its peak that a curve's rate is below it where its losses end."""
    return 1 - float(curve.rates[curve.rates.argmax() :].min()) / curve.peak


def _left_out(task: Task) -> Iterator[CurveReport]:
    """Each curve predicted by the law of the others, where they can tell one."""
    for index, curve in enumerate(task.curves):
        others = [*task.curves[:index], *task.curves[index + 1 :]]
        if max(map(_fall, others)) >= LEAST_FALL and sum(len(one.steps) for one in others) >= FEWEST_POINTS:
            without = _task(others, task.kind)
            yield report(curve, without.law(without.fit()))


def _refits(task: Task, fitted: Fitted, count: int, random: np.random.Generator) -> Iterator[Law]:
    """Fits to the law's own losses with runs of residuals drawn anew."""
    points, space = task.points(), task.space
    losses = points.at(fitted.theta)[0]
    sizes = [min(len(curve.steps), MOST_POINTS) for curve in task.curves]
    residuals = np.split(np.log(points.losses / losses), np.cumsum(sizes)[:-1])
    for _ in range(count):
        drawn = np.concatenate([_resampled(one, random) for one in residuals])
        again = Points(curves=points.curves, losses=losses * np.exp(drawn))
        yield task.law(curve_fit.refit(again, space, fitted.theta, REFIT_TOLERANCE))


def _resampled(residuals: Floats, random: np.random.Generator) -> Floats:
    length = -(-len(residuals) // NUM_RUNS)
    starts = random.integers(0, len(residuals) - length + 1, NUM_RUNS)
    return np.concatenate([residuals[start : start + length] for start in starts])[: len(residuals)]


def _notes(task: Task, fitted: Fitted, left_out: Sequence[CurveReport]) -> Iterator[str]:
    if len(task.curves) == 1:
        yield (
            "one curve does not tell the parts of a law apart: the band knows the noise of this curve and "
            "nothing of other schedules"
        )
    elif len(left_out) < len(task.curves):
        yield "a single curve has a falling rate: the fit without it could not be made, so it is untested"
    for index in fitted.at_bounds:
        yield f"{task.kind.constants[index]} is at the end of its range: the curves do not determine it"
