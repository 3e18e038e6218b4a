"""Three questions in words: is one law enough, does the batch enter linearly, does the size matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pretrain.laws.general_fit import Exponent, GeneralLaw
from pretrain.laws.power_fit import Point, PowerLaw, power_line

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Yes, no or unknown (None), and the sentence that says why."""

    holds: bool | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One law for all sizes; lr proportional to the batch; lr independent of the size."""

    one_law: Answer
    batch_linear: Answer
    size_free: Answer


def judge(
    points: Sequence[Point],
    together: PowerLaw | None,
    by_size: Mapping[float, PowerLaw],
    general: GeneralLaw | None,
) -> Verdict:
    """The verdict on a sweep's fits."""
    return Verdict(
        one_law=_one_law(points, together, by_size),
        batch_linear=_exponent(
            general,
            None if general is None else general.batch,
            1.0,
            "the batch",
            "the batches tried do not vary (or vary only with something else)",
        ),
        size_free=_exponent(
            general,
            None if general is None else general.size,
            0.0,
            "the size N",
            "there is one size (or it varies only with something else)",
        ),
    )


def _one_law(points: Sequence[Point], together: PowerLaw | None, by_size: Mapping[float, PowerLaw]) -> Answer:
    if together is None or len(by_size) < 2:
        return Answer(
            holds=None, words="unknown: one law for all sizes takes two sizes with two budgets each"
        )
    of_fitted = [point for point in points if point.N in by_size]
    lines = [power_line([point for point in of_fitted if point.N == N]) for N in by_size]
    common = power_line(of_fitted)
    freedom = len(of_fitted) - 2 * len(by_size)
    if common is None or freedom < 1:
        return Answer(
            holds=None, words="unknown: no size has more than two budgets to measure the scatter by"
        )
    apart = sum(line.rss for line in lines if line is not None)
    more = 2 * (len(by_size) - 1)
    ratio = ((common.rss - apart) / more) / max(apart / freedom, 1e-30)
    chance = float(stats.f.sf(ratio, more, freedom))
    factor = _disagreement(points, by_size)
    if chance < LEVEL:
        return Answer(
            holds=False,
            words=f"no: the sizes' own laws differ by up to a factor {factor:.2f} in lr within the budgets "
            f"tried, more than their scatter explains (F test, p = {chance:.2g})",
        )
    return Answer(
        holds=True,
        words=f"nothing here speaks against it: the sizes' own laws differ by up to a factor {factor:.2f} in "
        f"lr, within their scatter (F test, p = {chance:.2g})",
    )


def _disagreement(points: Sequence[Point], by_size: Mapping[float, PowerLaw]) -> float:
    budgets = [point.T for point in points]
    rates = np.array([[law.gamma(T) for T in (min(budgets), max(budgets))] for law in by_size.values()])
    return float((rates.max(axis=0) / rates.min(axis=0)).max())


def _exponent(
    general: GeneralLaw | None, found: Exponent | None, wanted: float, what: str, absent: str
) -> Answer:
    if general is None:
        return Answer(holds=None, words="unknown: too few optima for the general law")
    if found is None:
        return Answer(holds=None, words=f"unknown: {absent}")
    if found.interval is None:
        return Answer(
            holds=None, words=f"unknown: exponent of {what} {found.value:.3f}, without a measure of its error"
        )
    low, high = found.interval
    told = f"exponent of {what} {found.value:.3f}, 95 % interval {low:.3f} to {high:.3f}"
    if found.excludes(wanted):
        return Answer(holds=False, words=f"no: {told}, which leaves {wanted:g} out")
    if high - low > 0.5:
        return Answer(holds=None, words=f"unknown: {told}, too wide to tell")
    return Answer(holds=True, words=f"nothing here speaks against it: {told}, which holds {wanted:g}")
