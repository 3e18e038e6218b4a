"""Critical batches from a table, whose columns say which of three ways they are measured in.

steps     batch and steps to a target loss: one curve for every size and target
branches  tokens, batch and loss of short branches: one critical batch for every checkpoint
growth    critical_batch_tokens against tokens (or N): the power law between them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pretrain.errors import UserError
from pretrain.laws import readers
from pretrain.laws.branching import Branching, critical_branch, describe, saving, smooth, updates, warm_up
from pretrain.laws.critical_batch import MIN_BATCHES, Growth, StepsFit, definitions, fit_steps, growth
from pretrain.laws.table import Array, Table

Method = Literal["steps", "branches", "growth"]


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What was measured, by which definition, in tokens."""

    method: Method
    definition: tuple[str, ...]
    results: tuple[dict[str, Any], ...]
    growth: Growth | None = None
    growth_of: str | None = None
    warm_up: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def report(
    table: Table,
    *,
    sequence: int | None = None,
    base_batch: float | None = None,
    share: float = 0.2,
    tolerance: float = 0.01,
    start_batch: float | None = None,
    end_tokens: float | None = None,
) -> BatchReport:
    """Measure the critical batch in the way that the table's columns allow."""
    if table.find(*readers.STEPS):
        return _steps(table, sequence, base_batch, share)
    if table.find(*readers.CRITICAL):
        return _growth(table)
    if table.find("loss"):
        return _branches(table, sequence, tolerance, (start_batch, end_tokens))
    raise UserError(
        f"{table.path}: it has {', '.join(table.columns)}; wanted are batch_tokens and steps (to a "
        "target loss), or tokens, batch_tokens and loss (of branches), or critical_batch_tokens and tokens"
    )


def _steps(table: Table, sequence: int | None, base_batch: float | None, share: float) -> BatchReport:
    batches = readers.batch_tokens(table, sequence)
    steps = table.positive(table.need(*readers.STEPS))
    by = [name for name in (table.find(*readers.SIZE, *readers.MILLIONS), _target(table)) if name]
    base = base_batch or float(batches.min())
    results: list[dict[str, Any]] = []
    fits: list[tuple[StepsFit, float]] = []
    notes = []
    known = readers.sizes(table)
    for label, rows in readers.groups(table, by).items():
        if np.unique(batches[rows]).size < MIN_BATCHES:
            notes.append(f"{label or 'all rows'}: fewer than {MIN_BATCHES} batches: left out")
            continue
        fit = fit_steps(batches[rows], steps[rows], base_batch=base, share=share)
        results.append({"of": dict(zip(by, _first(table, by, rows), strict=True)), **vars(fit)})
        notes += [f"{label or 'all rows'}: {lack}" for lack in fit.missing]
        if known is not None and fit.overhead is not None:
            fits.append((fit, float(known[rows][0])))
    if not results:
        raise UserError(f"{table.path}: no group has the {MIN_BATCHES} batches that a curve needs")
    grown = None
    if len({N for _, N in fits}) >= 2:
        grown = growth([N for _, N in fits], [fit.overhead or 0.0 for fit, _ in fits])
    return BatchReport(
        method="steps",
        definition=definitions(share, f"{base:g} tokens"),
        results=tuple(results),
        growth=grown,
        growth_of="N" if grown else None,
        notes=tuple(notes),
    )


def _target(table: Table) -> str | None:
    return table.find("target_loss", "target_val_loss", "target")


def _first(table: Table, by: Sequence[str], rows: Array) -> list[str]:
    return [table.texts(name)[int(np.flatnonzero(rows)[0])] for name in by]


def _growth(table: Table) -> BatchReport:
    critical = table.positive(table.need(*readers.CRITICAL))
    of = table.find(*readers.TOKENS) or table.need(*readers.SIZE)
    grown = growth(table.positive(of), critical)
    notes = () if grown.interval else ("two points: an exponent without any measure of its error",)
    return BatchReport(method="growth", definition=(), results=(), growth=grown, growth_of=of, notes=notes)


def _branches(
    table: Table, sequence: int | None, tolerance: float, run: tuple[float | None, float | None]
) -> BatchReport:
    batches = readers.batch_tokens(table, sequence)
    losses = readers.losses(table, table.need("loss"))
    tokens = table.reals(table.need(*readers.TOKENS, why="where the branches leave the trunk"))
    measured = {at: _checkpoint(table, batches, losses, tokens == at, tolerance) for at in np.unique(tokens)}
    results = tuple({"tokens": float(at), **vars(one)} for at, one in measured.items())
    return BatchReport(
        method="branches",
        definition=(
            f"the largest batch within {tolerance:g} nats of all smaller ones (Merrill et al. 2025)",
        ),
        results=results,
        warm_up=_warm_up(measured, run),
        notes=tuple(_open_ended(measured)),
    )


def _checkpoint(table: Table, batches: Array, losses: Array, rows: Array, tolerance: float) -> Branching:
    """One checkpoint's branches; of a branch with several rows the smoothed loss at the last step."""
    sizes = np.unique(batches[rows])
    column = table.find("step")
    order = table.positive(column) if column else np.arange(batches.size)
    last = []
    for size in sizes:
        here = np.flatnonzero(rows & (batches == size))
        last.append(float(smooth(losses[here[np.argsort(order[here])]])[-1]))
    return critical_branch(list(sizes), last, tolerance)


def _open_ended(measured: dict[float, Branching]) -> Iterator[str]:
    for at, one in measured.items():
        if one.at_least:
            yield f"at {at:.4g} tokens every batch holds: the critical one may be larger"
        if one.at_most:
            yield f"at {at:.4g} tokens only the smallest batch holds: the critical one may be smaller"


def _warm_up(measured: dict[float, Branching], run: tuple[float | None, float | None]) -> tuple[str, ...]:
    start, end = run
    if start is None or end is None:
        return ()
    phases = warm_up(list(measured), [one.batch for one in measured.values()], start, end)
    saved = saving(phases, start)
    return (
        *describe(phases),
        f"{updates(phases):.0f} updates, {saved:.1%} fewer than at batch {start:g} throughout",
    )
