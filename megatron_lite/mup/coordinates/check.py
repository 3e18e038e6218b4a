"""The check: trials over widths and seeds, a slope for every place, and whether it lies where µP says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.bands import TOLERANCE, Band, band
from megatron_lite.mup.coordinates.places import Place
from megatron_lite.mup.coordinates.recipe import Parametrisation, Recipe
from megatron_lite.mup.coordinates.slopes import Slope, slope
from megatron_lite.mup.coordinates.trial import Sizes, trial
from megatron_lite.mup.options import MupOptions

ERRORS = 2  # standard errors by which a slope must lie outside of its band ...
MOST_ALLOWED = TOLERANCE  # ... but never more than this: half a power of the width is always seen


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One place, over all widths."""

    place: Place
    sizes: tuple[float, ...]  # by width, the mean over seeds
    slope: Slope
    band: Band | None  # None: not judged

    @property
    def left(self) -> bool:
        """Whether the slope has left its band."""
        return self.excess > 0

    @property
    def excess(self) -> float:
        """How far the slope is beyond what its error excuses; negative within."""
        return self.outside - min(ERRORS * self.slope.error, MOST_ALLOWED)

    @property
    def outside(self) -> float:
        """How far the slope is outside of its band: negative within, infinite where there is no slope."""
        if self.band is None:
            return -math.inf
        beyond = max(self.slope.value - self.band.high, self.band.low - self.slope.value)
        return math.inf if math.isnan(beyond) else beyond


def check(
    shapes: Sequence[ModelShape],
    rules: Parametrisation,
    recipe: Recipe,
    *,
    seeds: Sequence[Sequence[int]],
    mup: MupOptions,
    after_trial: Callable[[], None] = lambda: None,
) -> tuple[Verdict, ...]:
    """A verdict for every place; seeds[width]. `mup` says what is right, `rules` what is done."""
    trials: list[list[Sizes]] = []  # by width
    for shape, of_width in zip(shapes, seeds, strict=True):
        trials.append([])
        for seed in of_width:
            trials[-1].append(trial(shape, rules, recipe, seed))
            after_trial()
    return tuple(_verdict(place, shapes, trials, mup) for place in trials[0][0])


def seeds_by_width(shapes: Sequence[ModelShape], first: int, num: int) -> list[list[int]]:
    """`num` seeds for the widest and more for the others: what is random in a size falls with the width."""
    widest = max(shape.hidden_size for shape in shapes)
    return [list(range(first, first + num * -(-widest // shape.hidden_size))) for shape in shapes]


def _verdict(
    place: Place, shapes: Sequence[ModelShape], trials: Sequence[Sequence[Sizes]], mup: MupOptions
) -> Verdict:
    sizes = [[of_seed[place] for of_seed in of_width] for of_width in trials]
    return Verdict(
        place=place,
        sizes=tuple(fmean(of_width) for of_width in sizes),
        slope=slope([shape.hidden_size for shape in shapes], sizes),
        band=band(place, shapes[0], mup),
    )
