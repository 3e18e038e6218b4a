"""The paper's method on anyone's sweep: optima, the power law through them, the general law, a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from megatron_lite.schedules.power import Power
from pretrain.laws.cells import Cell, gather
from pretrain.laws.general_fit import GeneralLaw, general_law
from pretrain.laws.optimum import WHY, Optimum, centred, optimum, redraw, windows
from pretrain.laws.parabola import common_skew, residual_squares
from pretrain.laws.power_fit import Point, PowerLaw, average, best_points, groups, power_law
from pretrain.laws.results import Results
from pretrain.laws.table import Array
from pretrain.laws.verdict import Verdict, judge

REPETITIONS = 1000
MIN_BUDGETS = 3  # two points are a line with any exponent
MIN_SPAN = 4.0  # between the least and the greatest budget
WHOLE_BATCHES = 0.03  # of a budget, which a run is longer as its last batch is whole
MAX_HALF_WIDTH = 0.25  # of the exponent's interval, for a schedule that is worth pasting


@dataclass(frozen=True, kw_only=True, eq=False)
class LrFit:
    """All that a sweep says of its learning rates; what it cannot say is in `missing`."""

    optima: tuple[Optimum, ...]  # flagged ones too
    points: tuple[Point, ...]
    together: PowerLaw | None
    by_size: dict[float, PowerLaw]
    general: GeneralLaw | None
    verdict: Verdict
    schedule: Power | None  # only where nothing is missing
    highest_lr: float  # of the optima
    noise: float
    noise_source: str
    missing: tuple[str, ...]
    cautions: tuple[str, ...]  # where the law that is fitted is not the law that holds
    notes: tuple[str, ...]


def fit_lr(results: Results, *, repetitions: int = REPETITIONS, seed: int = 0) -> LrFit:
    """Fit the optimal learning rates of a sweep."""
    cells = gather(results)
    skew = _skew(cells)
    noise, freedom, source = _noise(cells, skew)
    optima = tuple(optimum(cell, noise, skew) for cell in cells)
    found = [one for one in optima if not one.flag]
    points = best_points(found)
    rates, gammas = _repeat(found, noise, skew, _spread(freedom, repetitions, seed))
    law = power_law(points, gammas)
    sizes = sorted({point.N for point in points})
    by_size = {N: one for N in sizes if (one := _of_size(points, gammas, N)) is not None}
    missing = (*results.doubts, *_missing(found, law))
    return LrFit(
        optima=optima,
        points=points,
        together=law,
        by_size=by_size,
        general=(general := general_law(found, rates)),
        verdict=(verdict := judge(points, law, by_size, general)),
        schedule=None if missing or law is None else _schedule(law),
        highest_lr=max((one.lr for one in found), default=float("nan")),
        noise=noise,
        noise_source=source,
        missing=missing,
        cautions=tuple(_cautions(verdict)),
        notes=(*results.notes, *_notes(optima, points)),
    )


def _schedule(law: PowerLaw) -> Power:
    return Power(amplitude=float(f"{law.amplitude:.4g}"), exponent=round(law.exponent, 4))


def _of_size(points: Sequence[Point], gammas: Array | None, N: float) -> PowerLaw | None:
    inside = [i for i, point in enumerate(points) if point.N == N]
    return power_law([points[i] for i in inside], None if gammas is None else gammas[:, inside])


def _skew(cells: Sequence[Cell]) -> float:
    """How much faster losses rise above the optimum than below it, over all cells that can tell."""
    inner = [one.cell for cell in cells if not (one := optimum(cell, float("nan"))).flag]
    return common_skew(centred(cell, windows(cell)[0]) for cell in inner)


def _noise(cells: Sequence[Cell], skew: float) -> tuple[float, int, str]:
    """A run's standard deviation where the runs do not say it, from how many spare runs, and which."""
    spare = sum(float((cell.runs - 1).sum()) for cell in cells)
    if not spare and all(np.isfinite(cell.loss_se).all() for cell in cells):
        return float("nan"), 0, "loss_se"
    if spare:
        squares = sum(cell.seed_squares for cell in cells)
        return float(np.sqrt(squares / spare)), round(spare), "repeated runs"
    first = [one for cell in cells if not (one := optimum(cell, float("nan"), skew)).flag]
    rest = [centred(one.cell, list(one.window)) for one in first]
    freedom = sum(x.size - 3 for x, _ in rest)
    if freedom:
        squares = sum(residual_squares(x, y, skew) for x, y in rest)
        return float(np.sqrt(squares / freedom)), freedom, "distance from the parabolas"
    return float("nan"), 0, "unknown"


def _spread(freedom: int, repetitions: int, seed: int) -> tuple[np.random.Generator, Array]:
    """How far off a standard deviation from so few spare runs may be, in every repetition."""
    generator = np.random.default_rng(seed)
    if not freedom:
        return generator, np.ones((repetitions, 1))
    return generator, np.sqrt(freedom / generator.chisquare(freedom, (repetitions, 1)))


def _repeat(
    found: Sequence[Optimum], noise: float, skew: float, chance: tuple[np.random.Generator, Array]
) -> tuple[Array | None, Array | None]:
    """Log rates of all optima and log gammas of all points, with the losses drawn anew in every row."""
    known = np.isfinite(noise) or all(np.isfinite(one.cell.loss_se).all() for one in found)
    if not found or not known:
        return None, None
    generator, spread = chance
    drawn = [
        redraw(one, noise, skew, spread * generator.standard_normal((spread.size, one.cell.lr.size)))
        for one in found
    ]
    rates = np.stack([rate for rate, _ in drawn], axis=1)
    losses = np.stack([loss for _, loss in drawn], axis=1)
    gammas = rates - np.log([one.cell.beta for one in found])
    averages = [average(gammas, losses, members) for members in groups(found).values()]
    return rates, np.stack(averages, axis=1)


def _missing(found: Sequence[Optimum], law: PowerLaw | None) -> Iterator[str]:
    """What stands between these runs and a law to train by."""
    if not found:
        yield "no (size, budget, batch) has its best learning rate inside of the rates tried"
        return
    budgets = sorted({one.cell.T for one in found})
    if len(budgets) < MIN_BUDGETS:
        yield f"{len(budgets)} token budget(s) with an optimum; a power law of T needs at least {MIN_BUDGETS}"
    elif budgets[-1] / budgets[0] < MIN_SPAN * (1 - WHOLE_BATCHES):
        span = budgets[-1] / budgets[0]
        yield f"the budgets span a factor {span:.3g}; an exponent needs at least {MIN_SPAN:g}"
    if law is None or len(budgets) < MIN_BUDGETS:
        return
    if law.exponent > 0:
        yield "lr / beta rises with the tokens here: a power schedule only falls"
    if law.exponent_interval is None:
        yield "nothing tells how far to trust the exponent: repeat runs, or give loss_se"
    elif (width := (law.exponent_interval[1] - law.exponent_interval[0]) / 2) > MAX_HALF_WIDTH:
        yield f"the exponent is known to ±{width:.2g} only: more budgets, rates or seeds are needed"


def _cautions(verdict: Verdict) -> Iterator[str]:
    """What whoever pastes the schedule must know."""
    if verdict.batch_linear.holds is False:
        yield "the batch does not enter linearly here: it holds near the best batches of each budget alone"
    if verdict.batch_linear.holds is None:
        yield "that lr follows the batch linearly was not shown by these runs"
    if verdict.one_law.holds is False:
        yield "the sizes disagree: this is their average"
    if verdict.size_free.holds is False:
        yield "the best rate moves with the size: do not extrapolate to other sizes"


def _notes(optima: Sequence[Optimum], points: Sequence[Point]) -> Iterator[str]:
    for flag, why in WHY.items():
        if count := sum(one.flag == flag for one in optima):
            yield f"{count} of {len(optima)} (size, budget, batch) left out: {why}"
    if edge := sum(point.at_edge for point in points):
        yield f"at {edge} of {len(points)} budgets the best batch is the smallest or largest with an optimum"
    if few := sum(len(point.batches) < 3 for point in points):
        yield f"{few} of {len(points)} budgets have fewer than three batches with an optimum"
