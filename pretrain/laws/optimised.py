"""The schedule with the least final loss under the Multi-Power Law, of rates that never rise after warm-up.

The rates are lines between knots, closest together at the end, and the falls from knot to knot are shares of
the peak that sum to 1 with the last rate. (Were single updates free, the law would ask for a staircase,
because it values all of a sudden fall at the rate behind it.) As in its authors' search a warm-up adds to the
sum of rates and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pretrain.errors import UserError
from pretrain.laws.curves import Floats
from pretrain.laws.multi_power import LEAST_RATE, MultiPower

NUM_KNOTS = 250
MOST_PIECES = 12_000  # that a run is cut into; more updates go together
STARTS = (0.3, 0.6, 0.85)  # shares of the run until which a first guess is flat
EVEN_SHARE = 0.05  # of a guess's fall that is spread over all knots, so that each can grow
EXPONENT, LAST = 1.5, 0.005  # of a guess's fall, and of the peak


@dataclass(frozen=True, kw_only=True)
class Optimised:
    """Rates for every update, and what the law says of them."""

    rates: Floats  # of update 0 to the last
    searched_loss: (
        float  # the last one, as searched: without a warm-up's rise, which costs every schedule alike
    )
    constant_loss: float  # of the peak held to the end, likewise
    flat_share: float  # of the updates, until the rate is 1 % below the peak
    last_share: float  # of the peak, at the end


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A run after its warm-up, cut into pieces with one rate each."""

    peak: float
    before: float  # sum of rates that came first
    counts: Floats  # updates in each piece

    def falls(self, rates: Floats) -> Floats:
        """What the rate falls by at the beginning of each piece."""
        return -np.diff(rates, prepend=self.peak)


def optimise(law: MultiPower, *, steps: int, peak: float, warmup_steps: int = 0) -> Optimised:
    """The best of the searches from a few guesses; UserError where there is nothing to search."""
    updates = steps - warmup_steps
    if updates < 2 or warmup_steps < 0:
        raise UserError(
            f"--steps {steps} with --warmup-steps {warmup_steps}: at least 2 steps should follow the warm-up"
        )
    if not 0 < peak < np.inf:
        raise UserError(f"--peak {peak}: should be a finite rate above 0")
    number = min(updates, MOST_PIECES)
    pieces = Pieces(peak=peak, before=peak * warmup_steps / 2, counts=np.full(number, updates / number))
    knots = _knots(number)
    found = [_search(law, pieces, knots, flat) for flat in STARTS]
    best = min(found, key=lambda rates: final(law, pieces, rates)[0])
    every = np.interp((np.arange(updates) + 0.5) * number / updates - 0.5, np.arange(number), best)
    after = np.minimum(peak, np.minimum.accumulate(every))  # where rounding lifts it
    return Optimised(
        rates=np.concatenate([[0.0], peak * np.arange(warmup_steps) / max(1, warmup_steps), after]),
        searched_loss=final(law, pieces, best)[0],
        constant_loss=final(law, pieces, np.full(number, peak))[0],
        flat_share=float((warmup_steps + np.argmax(np.append(after, 0) < 0.99 * peak)) / steps),
        last_share=float(after[-1] / peak),
    )


def final(law: MultiPower, pieces: Pieces, rates: Floats) -> tuple[float, Floats]:
    """The loss at the end, and its derivatives by the pieces' rates."""
    falls, safe = pieces.falls(rates), np.maximum(rates, LEAST_RATE)
    after = np.cumsum((pieces.counts * rates)[::-1])[::-1]
    total = pieces.before + float(after[0])
    power = law.A * total**-law.alpha
    scale = law.C * safe**-law.gamma
    x = scale * after
    left = (1 + x) ** -law.beta
    slope = falls * law.beta * left / (1 + x)
    # a rate ends its own fall, begins the next one, and is in the sum behind every earlier one
    gain_by_rate = np.append(1 - left[1:], 0.0) - (1 - left)
    gain_by_rate += pieces.counts * np.cumsum(slope * scale) - slope * law.gamma * x / safe
    loss = law.L0 + power - law.B * float(falls @ (1 - left))
    return loss, -law.alpha * power / total * pieces.counts - law.B * gain_by_rate


def _search(law: MultiPower, pieces: Pieces, knots: NDArray[np.int64], flat: float) -> Floats:
    number = len(pieces.counts)
    index = np.clip(np.searchsorted(knots, np.arange(number), side="right") - 1, 0, len(knots) - 2)
    x = (np.arange(number) - knots[index]) / np.diff(knots)[index]

    def rates(shares: Floats) -> Floats:
        at_knots = pieces.peak * np.cumsum(shares[::-1])[::-1]
        return (1 - x) * at_knots[index] + x * at_knots[index + 1]

    def objective(logits: Floats) -> tuple[float, Floats]:
        shares = _softmax(logits)
        loss, by_rate = final(law, pieces, rates(shares))
        by_knot = np.bincount(index, (1 - x) * by_rate, len(knots))
        by_knot += np.bincount(index + 1, x * by_rate, len(knots))
        by_share = pieces.peak * np.cumsum(by_knot)  # a share lifts every knot before its fall
        return loss, shares * (by_share - shares @ by_share)

    found = minimize(
        objective,
        np.log(_guess(knots, flat)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1500, "maxfun": 2000, "maxcor": 30, "ftol": 1e-11, "gtol": 1e-9},
    )
    return rates(_softmax(found.x))


def _guess(knots: NDArray[np.int64], flat: float) -> Floats:
    x = np.clip((knots / knots[-1] - flat) / (1 - flat), 0, 1)
    level = LAST + (1 - LAST) * (1 - x) ** EXPONENT
    falls = np.append(-np.diff(level), LAST)
    return (1 - EVEN_SHARE) * falls + EVEN_SHARE / len(falls)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def _knots(number: int) -> NDArray[np.int64]:
    """Pieces that are knots, the first and the last among them."""
    left = np.linspace(1, 0, NUM_KNOTS + 1) ** 2
    return np.unique(np.round((number - 1) * (1 - left)).astype(np.int64))
