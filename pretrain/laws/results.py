"""The results of a sweep: one row a run, with its size, tokens, batch, learning rate and final loss.

N           parameters without embeddings
D           tokens trained
batch       tokens of one update; beta = batch / 4096
lr          peak or plateau rate of the parameter group with ratio 1
loss        natural-log cross-entropy; NaN where the run gave none
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from megatron_lite.schedules.power import REFERENCE_SEQUENCE_TOKENS
from pretrain.errors import UserError
from pretrain.laws.table import ABSENT, Array, Table, read

GOOD = frozenset({"finished", "ok", "done", "complete", "completed", "success", "succeeded"})
PERPLEXITY = 25.0  # nats: a model that knows nothing of a vocabulary of 200 000 has 12.2


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Runs that gave a loss, as columns of equal length, and what was said about the others."""

    N: Array
    D: Array
    batch_tokens: Array
    lr: Array
    loss: Array
    loss_se: Array  # NaN where unknown
    failed: Array  # 1 where the run diverged or failed; its loss is NaN
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # signs of wrong units: whoever fits these says so and sells no law

    @property
    def beta(self) -> Array:
        """The batch in sequences of 4096 tokens."""
        return self.batch_tokens / REFERENCE_SEQUENCE_TOKENS


def from_arrays(
    *,
    N: ArrayLike,
    D: ArrayLike,
    batch_tokens: ArrayLike,
    lr: ArrayLike,
    loss: ArrayLike,
    loss_se: ArrayLike | None = None,
    usable: ArrayLike | None = None,
) -> Results:
    """Results from plain arrays; scalars spread over all rows. Refuses units that cannot be right."""
    losses = np.atleast_1d(np.asarray(loss, float))
    columns = [np.broadcast_to(np.asarray(x, float), losses.shape) for x in (N, D, batch_tokens, lr)]
    errors = np.full(losses.shape, np.nan) if loss_se is None else np.asarray(loss_se, float)
    good = np.isfinite(losses) & (losses > 0)
    if usable is not None:
        good = good & np.asarray(usable, bool)
    for name, column in zip(("N", "D", "batch_tokens", "lr"), columns, strict=True):
        if not (np.isfinite(column) & (column > 0)).all():
            raise UserError(f"{name} should be finite numbers above 0")
    result = Results(
        N=columns[0],
        D=columns[1],
        batch_tokens=columns[2],
        lr=columns[3],
        loss=np.where(good, losses, np.nan),
        loss_se=np.where(np.isfinite(errors) & (errors > 0), errors, np.nan),
        failed=(~good).astype(float),
    )
    _refuse_wrong_units(result)
    return replace(result, notes=tuple(_notes(result)), doubts=tuple(_doubts(result)))


def read_results(path: Path) -> Results:
    """The results in a CSV file with the columns N, D, batch_tokens, lr, loss, perhaps loss_se and status."""
    table = read(path)
    needed = {name: table.need(name) for name in ("N", "D", "batch_tokens", "lr", "loss")}
    try:
        return from_arrays(
            **{name: table.positive(needed[name]) for name in ("N", "D", "batch_tokens", "lr")},
            loss=table.reals(needed["loss"]),
            loss_se=_optional(table, "loss_se"),
            usable=_usable(table),
        )
    except UserError as error:
        raise UserError(f"{'' if str(path) in str(error) else f'{path}: '}{error}") from None


def _optional(table: Table, name: str) -> Array | None:
    return table.reals(column) if (column := table.find(name)) else None


def _usable(table: Table) -> list[bool] | None:
    """Whether each run ended well: nothing said, or one of the words for it."""
    if (column := table.find("status", "state")) is None:
        return None
    return [text.lower() in GOOD or text.lower() in ABSENT for text in table.texts(column)]


def _refuse_wrong_units(results: Results) -> None:
    """Units that give a law without a sign of trouble, off by orders of magnitude."""
    short = np.flatnonzero(results.batch_tokens > results.D)
    if short.size:
        i = short[0]
        raise UserError(
            f"D is {results.D[i]:g} and batch_tokens {results.batch_tokens[i]:g}: less than one batch. "
            "Both are counted in tokens (not steps, billions or sequences)"
        )
    if (results.lr >= 10).any():
        raise UserError(f"lr is {results.lr.max():g}: it should be the rate itself, such as 0.002")
    known = results.loss[np.isfinite(results.loss)]
    if known.size and np.median(known) > PERPLEXITY:
        raise UserError(f"loss is {np.median(known):g} in the middle: natural-log loss, not perplexity")


def _notes(results: Results) -> Iterator[str]:
    failed = int(results.failed.sum())
    if failed:
        yield f"{failed} of {results.loss.size} runs diverged, failed or have no loss: left out"


def _doubts(results: Results) -> Iterator[str]:
    if results.batch_tokens.max() < 2048 and results.D.min() / results.batch_tokens.max() > 1e5:
        yield (
            f"batch_tokens is at most {results.batch_tokens.max():g} for {results.D.min():g} tokens and "
            "more: if these are sequences, multiply them by the sequence length"
        )
    if results.N.max() < 1000:
        yield f"N is at most {results.N.max():g}: if these are millions, multiply them by 1e6"
