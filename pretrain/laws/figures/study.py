"""What the figures are drawn from: a file of results with everything that is fitted to it, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.laws.best_batch import TunedBatches, tuned_batches
from pretrain.laws.cells import Cell
from pretrain.laws.fit_lr import REPETITIONS, LrFit, fit_lr
from pretrain.laws.optimum import Optimum
from pretrain.laws.power_constants import ConstantRun, constant_columns, constant_runs
from pretrain.laws.results import Results, from_arrays, read_results
from pretrain.laws.sensitivity import Sensitivity, sensitivity
from pretrain.laws.table import read


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The fits of a sweep, what follows from them, and the runs that vary the schedule's constants."""

    source: str
    fit: LrFit
    sensitivity: Sensitivity
    batches: tuple[TunedBatches, ...]
    constants: tuple[ConstantRun, ...]

    @property
    def found(self) -> tuple[Optimum, ...]:
        """The optima that the rates tried enclose."""
        return tuple(one for one in self.fit.optima if not one.flag)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Those of which two learning rates or more have a loss."""
        return tuple(one.cell for one in self.fit.optima if one.cell.lr.size > 1)

    @property
    def sizes(self) -> list[float]:
        """Of the optima found, rising."""
        return sorted({one.cell.N for one in self.found})

    def of(
        self, *, N: float | None = None, T: float | None = None, batch: float | None = None
    ) -> list[Optimum]:
        """The optima found at this size, budget and batch; None: any."""
        return [
            one
            for one in self.found
            if N in (None, one.cell.N) and T in (None, one.cell.T) and batch in (None, one.cell.batch_tokens)
        ]


def study(results: Results, source: str = "results", constants: Iterable[ConstantRun] = ()) -> Study:
    """Everything the figures need, from results in which the learning rate was varied."""
    return _study(results, source, constants, REPETITIONS)


def read_study(path: Path, repetitions: int = REPETITIONS) -> Study:
    """The same from a CSV file; rows that give the power schedule's constants are a sweep of these."""
    results = read_results(path)
    if (columns := constant_columns(read(path))) is None:
        return _study(results, path.stem, (), repetitions)
    power = np.isfinite(columns[0]) | np.isfinite(columns[1])
    runs = constant_runs(_rows(results, power), *(column[power] for column in columns))
    # a file of nothing else has a rate a cell, of which no law can be made, and the fit says so
    return _study(results if power.all() else _rows(results, ~power), path.stem, runs, repetitions)


def _study(results: Results, source: str, constants: Iterable[ConstantRun], repetitions: int) -> Study:
    fit = fit_lr(results, repetitions=repetitions)
    return Study(
        source=source,
        fit=fit,
        sensitivity=sensitivity(fit.optima, fit.noise),
        batches=tuned_batches(fit.optima),
        constants=tuple(constants),
    )


def _rows(results: Results, rows: NDArray[np.bool_]) -> Results:
    return from_arrays(
        N=results.N[rows],
        D=results.D[rows],
        batch_tokens=results.batch_tokens[rows],
        lr=results.lr[rows],
        loss=results.loss[rows],
        loss_se=results.loss_se[rows],
        usable=results.failed[rows] == 0,
    )
