"""The best learning rate of one (size, tokens, batch): the lowest point of a parabola in log rate.

The parabola goes through the best rate tried and its neighbours, as many on either side. An optimum that the
grid does not enclose is flagged, never extrapolated. Losses rise faster above the optimum than below it;
`skew` is that lopsidedness, of all cells together (see `pretrain.laws.parabola`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pretrain.laws.cells import Cell
from pretrain.laws.parabola import lowest, powers
from pretrain.laws.table import Array

Flag = Literal["", "few", "low", "high", "diverged", "curvature", "flat"]
WHY: dict[str, str] = {
    "few": "fewer than three learning rates with a loss",
    "low": "the best rate is the lowest tried",
    "high": "the best rate is the highest tried",
    "diverged": "the best rate is the highest that did not diverge",
    "curvature": "the losses do not bend upwards around the best rate",
    "flat": "the noise is too large to tell where in the grid the optimum is",
}
REACH = 2  # neighbours on each side
FACTOR = 3.0  # or as many as lie within it
BLOW_UP = 6.0  # a parabola's second neighbour rises at most 6 times as far as the higher first one
CALM = 0.01  # of the loss: what rises no further has not blown up, whatever the first neighbours' noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """What one cell says: the best rate and its loss, or the flag that says why not."""

    cell: Cell
    flag: Flag
    log_lr: float = float("nan")
    log_lr_se: float = float("nan")
    loss: float = float("nan")
    window: tuple[int, ...] = ()  # which of the cell's rates the parabola goes through

    @property
    def lr(self) -> float:
        """The best rate of the group with ratio 1."""
        return float(np.exp(self.log_lr))

    @property
    def gamma(self) -> float:
        """The best rate per sequence of 4096 tokens in the batch: eta / beta."""
        return self.lr / self.cell.beta


def optimum(cell: Cell, noise: float, skew: float = 0.0) -> Optimum:
    """The optimum of a cell whose points have no error of their own but `noise` (NaN: unknown)."""
    if cell.lr.size < 3:
        return Optimum(cell=cell, flag="few")
    best = int(np.argmin(cell.loss))
    if best == 0:
        return Optimum(cell=cell, flag="low")
    if best == cell.lr.size - 1:
        above = cell.failed_lr.size and cell.failed_lr.max() > cell.lr[-1]
        return Optimum(cell=cell, flag="diverged" if above else "high")
    for window in windows(cell):
        x, y = centred(cell, window)
        found = lowest(x, y[None], skew)
        if abs(found.vertex[0]) <= abs(x[window.index(best + np.sign(found.vertex[0]).astype(int))]):
            break
    else:
        return Optimum(cell=cell, flag="curvature")
    se = _vertex_error(x, found.slope[0], found.bend[0], cell.errors(noise)[window])
    if se > np.log(cell.lr[-1] / cell.lr[0]) / 2:
        return Optimum(cell=cell, flag="flat")
    return Optimum(
        cell=cell,
        flag="",
        log_lr=float(np.log(cell.lr[best]) + found.vertex[0]),
        log_lr_se=se,
        loss=float(found.level[0]),
        window=tuple(window),
    )


def redraw(optimum: Optimum, noise: float, skew: float, draws: Array) -> tuple[Array, Array]:
    """Log rate and loss at the optimum with the losses moved by `draws` errors each; NaN where there is none.

    `draws` holds standard normal numbers, one row a repetition and one column a rate of the cell.
    """
    cell, window = optimum.cell, list(optimum.window)
    x, y = centred(cell, window)
    found = lowest(x, y + draws[:, window] * np.nan_to_num(cell.errors(noise)[window]), skew)
    log_lr = found.vertex + np.log(cell.lr[int(np.argmin(cell.loss))])
    inside = (log_lr >= np.log(cell.lr[0])) & (log_lr <= np.log(cell.lr[-1]))
    return np.where(inside, log_lr, np.nan), np.where(inside, found.level, np.nan)


def windows(cell: Cell) -> list[list[int]]:
    """Which rates a parabola may go through, widest first: the best with as many neighbours on either side.

    Two, or all within a factor of three on a finer grid; fewer where the grid ends or the loss blows up.
    """
    best = int(np.argmin(cell.loss))
    around = np.abs(np.log(cell.lr / cell.lr[best])) < np.log(FACTOR)
    most = max(REACH, min(around[:best].sum(), around[best + 1 :].sum()))
    most = min(most, best, cell.lr.size - 1 - best)
    rise = cell.loss - cell.loss[best]
    first = rise[best - 1 : best + 2].max()
    calm = [
        reach
        for reach in range(most, 0, -1)
        if reach == 1
        or rise[[best - reach, best + reach]].max()
        <= max(BLOW_UP * first * reach**2 / 4, CALM * cell.loss[best])
    ]
    return [list(range(best - reach, best + reach + 1)) for reach in calm]


def centred(cell: Cell, window: list[int]) -> tuple[Array, Array]:
    """Log rates about the best one, and their losses."""
    best = int(np.argmin(cell.loss))
    return np.log(cell.lr[window] / cell.lr[best]), cell.loss[window]


def _vertex_error(x: Array, slope: float, bend: float, errors: Array) -> float:
    """The delta method on -slope / (2 bend)."""
    design = np.linalg.pinv(powers(x))
    gradient = -design[1] / (2 * bend) + design[2] * slope / (2 * bend**2)
    return float(np.sqrt(np.sum((gradient * errors) ** 2)))
