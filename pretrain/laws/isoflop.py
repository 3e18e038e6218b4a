"""The best size at every compute budget, and how it grows: N* = coefficient C^exponent.

At each budget the loss is a curve over sizes, whose lowest point is found in log N and log loss: by Akima
interpolation (as Porian et al. 2024, arXiv 2406.19146), or by a parabola through the five lowest points. A
budget whose best size is the smallest or largest tried is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import Akima1DInterpolator

from pretrain.errors import UserError
from pretrain.laws.regression import Interval, least_squares, widest
from pretrain.laws.table import Array

Method = Literal["akima", "parabola"]
GRID = 4000  # points of an interpolated curve
NEAREST = 5  # points of a parabola


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The best size at one budget; `flag` says why there is none."""

    flops: float
    N: float
    D: float
    loss: float
    flag: str = ""


@dataclass(frozen=True, kw_only=True)
class IsoFlop:
    """The minima and the power laws through them; None where fewer than three budgets have a minimum."""

    minima: tuple[Minimum, ...]
    size_exponent: float | None = None
    size_coefficient: float | None = None
    size_interval: Interval | None = None
    tokens_exponent: float | None = None
    missing: tuple[str, ...] = ()


def fit_isoflop(
    flops: ArrayLike, N: ArrayLike, D: ArrayLike, loss: ArrayLike, *, method: Method = "akima"
) -> IsoFlop:
    """The minima of every budget and their growth; runs without a loss are left out."""
    budgets, sizes, tokens, losses = (np.asarray(column, float) for column in (flops, N, D, loss))
    good = np.isfinite(losses) & (losses > 0)
    if not good.any():
        raise UserError("no run has a loss")
    minima = tuple(
        _minimum(float(C), sizes[here], tokens[here], losses[here], method)
        for C in np.unique(budgets[good])
        if (here := good & (budgets == C)).any()
    )
    found = [one for one in minima if not one.flag]
    if len(found) < 3:
        told = f"{len(found)} of {len(minima)} budgets have their best size inside of those tried, not three"
        return IsoFlop(minima=minima, missing=(told,))
    logs = np.log([one.flops for one in found])
    design = np.stack([np.ones_like(logs), logs], axis=1)
    by_size = least_squares(design, np.log([one.N for one in found]))
    by_tokens = least_squares(design, np.log([one.D for one in found]))
    assert by_size is not None
    assert by_tokens is not None
    return IsoFlop(
        minima=minima,
        size_exponent=float(by_size.coefficients[1]),
        size_coefficient=float(np.exp(by_size.coefficients[0])),
        size_interval=widest(by_size.interval(1)),
        tokens_exponent=float(by_tokens.coefficients[1]),
        missing=(),
    )


def left_out(fit: IsoFlop) -> Iterator[str]:
    """One sentence for every budget without a minimum."""
    for one in fit.minima:
        if one.flag:
            yield f"{one.flops:.3g} FLOPs left out: {one.flag}"


def _minimum(flops: float, sizes: Array, tokens: Array, losses: Array, method: Method) -> Minimum:
    """One budget; several runs of one size count by their best."""
    n, d, y = (np.log(column) for column in _best_of_each(sizes, tokens, losses))
    best = int(np.argmin(y))
    flag = ""
    if n.size < 4:
        flag = f"{n.size} size(s); four are needed"
    elif best in (0, n.size - 1):
        flag = f"the best size is the {'smallest' if best == 0 else 'largest'} tried"
    if flag:
        return Minimum(flops=flops, N=np.nan, D=np.nan, loss=np.nan, flag=flag)
    low, loss = _akima(n, y) if method == "akima" else _parabola(n, y, best)
    if not n[0] < low < n[-1]:
        return Minimum(flops=flops, N=np.nan, D=np.nan, loss=np.nan, flag="the losses do not bend upwards")
    D = float(np.exp(np.interp(low, n, d)))
    return Minimum(flops=flops, N=float(np.exp(low)), D=D, loss=float(np.exp(loss)))


def _best_of_each(sizes: Array, tokens: Array, losses: Array) -> tuple[Array, Array, Array]:
    order = np.lexsort((losses, sizes))
    _, first = np.unique(sizes[order], return_index=True)
    chosen = order[first]
    return sizes[chosen], tokens[chosen], losses[chosen]


def _akima(n: Array, y: Array) -> tuple[float, float]:
    grid = np.linspace(n[0], n[-1], GRID)
    curve = Akima1DInterpolator(n, y)(grid)
    lowest = int(np.argmin(curve))
    return float(grid[lowest]), float(curve[lowest])


def _parabola(n: Array, y: Array, best: int) -> tuple[float, float]:
    first = int(np.clip(best - NEAREST // 2, 0, max(n.size - NEAREST, 0)))
    here = slice(first, first + NEAREST)
    bend, slope, level = np.polyfit(n[here] - n[best], y[here], 2)
    if bend <= 0:
        return float("nan"), float("nan")
    return float(n[best] - slope / (2 * bend)), float(level - slope**2 / (4 * bend))
