"""The loss of a model of N parameters after D tokens: L = E + A / N^alpha + B / D^beta.

Hoffmann et al. 2022, arXiv 2203.15556: the Huber loss of log-loss residuals, minimised from many starts.
The five parameters trade off against each other, so that intervals come from refits on redrawn losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from pretrain.errors import UserError
from pretrain.laws.regression import Interval, percentiles
from pretrain.laws.table import Array

HUBER = 1e-3  # of log loss
MIN_RUNS = 7  # five parameters, and something left to be wrong about
MAX_WIDTH = 0.2  # of an exponent's interval, beyond which the law says so
MIN_SPREAD = 2.0  # of N and of D, between least and greatest
STARTS = tuple(product((0.0, 0.5), (0.1, 0.35, 0.6), (0.1, 0.35, 0.6)))  # share of the loss in E, alpha, beta

# Evaluations: to tell good starts from bad, to let a refit wander down the valley, and to the bottom.
ROUGH, REFIT, FINE = 40, 200, 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleLaw:
    """The law, how well it fits, and its parameters in every refit."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    objective: float  # sum of Huber losses
    error: float  # mean |relative error| of the runs it was fitted on
    runs: int
    refits: Array  # one row a refit: log A, log B, log E, alpha, beta

    def loss(self, N: ArrayLike, D: ArrayLike) -> Array:
        """The law's loss."""
        return np.exp(
            _log_loss(self._parameters(), np.log(np.asarray(N, float)), np.log(np.asarray(D, float)))
        )

    def band(self, N: float, D: float) -> Interval | None:
        """95 % of the refits' losses: what other such runs would have said, if the form is right."""
        logs = [_log_loss(row, np.log([N]), np.log([D]))[0] for row in self.refits]
        return percentiles(np.exp(np.array(logs, float)))

    def intervals(self) -> dict[str, Interval | None]:
        """95 % intervals of the five parameters."""
        columns = dict(zip(("A", "B", "E", "alpha", "beta"), self.refits.T, strict=True))
        return {
            name: percentiles(np.exp(column) if name in "ABE" else column) for name, column in columns.items()
        }

    def cautions(self) -> tuple[str, ...]:
        """Exponents that these runs leave open."""
        known = self.intervals()
        open_ = {name: known[name] for name in ("alpha", "beta")}
        return tuple(
            f"{name} is known to {pair[0]:.2f} to {pair[1]:.2f} only: trust the law near its runs alone"
            for name, pair in open_.items()
            if pair is not None and pair[1] - pair[0] > MAX_WIDTH
        )

    @property
    def size_exponent(self) -> float:
        """a in N* ~ C^a: the compute-optimal size by this law, with C = 6ND."""
        return self.beta / (self.alpha + self.beta)

    def optimal(self, compute: float) -> tuple[float, float]:
        """The N and D that this law finds best for C = 6ND FLOPs."""
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        N = scale * (compute / 6) ** self.size_exponent
        return N, compute / 6 / N

    def _parameters(self) -> Array:
        return np.array([*np.log([self.A, self.B, self.E]), self.alpha, self.beta])


def fit_scale(N: ArrayLike, D: ArrayLike, loss: ArrayLike, *, refits: int = 100, seed: int = 0) -> ScaleLaw:
    """The law through these runs; runs without a loss are left out."""
    sizes, tokens, losses = (np.asarray(column, float) for column in (N, D, loss))
    good = np.isfinite(losses) & (losses > 0)
    sizes, tokens, losses = sizes[good], tokens[good], losses[good]
    for sentence in missing(sizes, tokens):
        raise UserError(sentence)
    logs = np.log(sizes), np.log(tokens), np.log(losses)
    rough = min((_solve(start, *logs) for start in _starts(*logs)), key=lambda found: found[1])
    best = _solve(rough[0], *logs, rounds=FINE)
    generator = np.random.default_rng(seed)
    redrawn = [_refit(best[0], logs, generator) for _ in range(refits)]
    a, b, e, alpha, beta = best[0]
    return ScaleLaw(
        E=float(np.exp(e)),
        A=float(np.exp(a)),
        B=float(np.exp(b)),
        alpha=float(alpha),
        beta=float(beta),
        objective=best[1],
        error=float(np.mean(np.abs(np.exp(_log_loss(best[0], *logs[:2]) - logs[2]) - 1))),
        runs=losses.size,
        refits=np.array(redrawn).reshape(-1, 5),
    )


def missing(N: Array, D: Array) -> Iterator[str]:
    """What these runs lack for a law of N and D."""
    if N.size < MIN_RUNS:
        yield f"{N.size} runs with a loss; E + A/N^alpha + B/D^beta needs at least {MIN_RUNS}"
    for name, values in (("N", N), ("D", D)):
        if values.size and (np.unique(values).size < 3 or values.max() < MIN_SPREAD * values.min()):
            yield (
                f"{name} has {np.unique(values).size} value(s) within a factor "
                f"{values.max() / values.min():.3g}; its exponent needs three over a factor {MIN_SPREAD:g}"
            )


def _refit(best: Array, logs: tuple[Array, Array, Array], generator: np.random.Generator) -> Array:
    """The law through other losses of the same runs: the fitted ones and noise of the size that is seen.

    Resampling whole runs would leave out sizes and budgets, of which there are few. How large the noise is,
    is itself known only from as many residuals as the parameters have left free.
    """
    n, d, y = logs
    fitted = _log_loss(best, n, d)
    noise = np.sqrt(np.sum((y - fitted) ** 2) / generator.chisquare(y.size - best.size))
    return _solve(best, n, d, fitted + noise * generator.standard_normal(y.size), rounds=REFIT)[0]


def _starts(n: Array, d: Array, y: Array) -> Iterator[Array]:
    """Parameters that share the loss of the middle run between the three terms."""
    middle = float(np.exp(np.median(y)))
    for share, alpha, beta in STARTS:
        rest = (1 - share) * middle / 2
        floor = max(share * middle, 1e-2)
        yield np.array(
            [
                np.log(rest) + alpha * np.median(n),
                np.log(rest) + beta * np.median(d),
                np.log(floor),
                alpha,
                beta,
            ]
        )


def _solve(start: Array, n: Array, d: Array, y: Array, *, rounds: int = ROUGH) -> tuple[Array, float]:
    """Down from one start, by steps that know the curvature: the valley is long and flat."""
    found = least_squares(
        lambda p: _log_loss(p, n, d) - y,
        start,
        jac=lambda p: _slopes(p, n, d),
        bounds=([-50, -50, np.log(1e-3), 1e-3, 1e-3], [80, 80, 5, 3, 3]),
        loss="huber",
        f_scale=HUBER,
        x_scale="jac",
        ftol=1e-12,
        xtol=1e-12,
        gtol=1e-14,
        max_nfev=rounds,
    )
    return found.x, float(found.cost)


def _slopes(p: Array, n: Array, d: Array) -> Array:
    terms = _terms(p, n, d)
    share = np.exp(terms - np.logaddexp.reduce(terms, axis=0))
    return np.stack([*share, -share[0] * n, -share[1] * d], axis=1)


def _terms(p: Array, n: Array, d: Array) -> Array:
    return np.stack([p[0] - p[3] * n, p[1] - p[4] * d, np.full_like(n, p[2])])


def _log_loss(p: Array, n: Array, d: Array) -> Array:
    return np.logaddexp.reduce(_terms(p, n, d), axis=0)
