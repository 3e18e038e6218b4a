"""Loss curves from files: a CSV with step, lr and loss, or a run's metrics.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.errors import UserError, nearest
from pretrain.laws import table
from pretrain.laws.curves import Curve, Floats, rates_between
from pretrain.laws.curves import warmup_steps as warm_until

COLUMNS = ("step", "lr", "loss")
MOST_STEPS = 20_000_000  # more are tokens in the column of steps
UNTRAINED = 25.0  # nats that no vocabulary's first loss reaches


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The numbers of a file, and the line of each."""

    values: Floats  # step, lr, loss
    lines: tuple[int, ...]
    batch_tokens: int | None


def read_curve(path: Path, *, warmup_steps: int | None = None) -> tuple[Curve, int | None]:
    """The curve in a file, and the tokens of an update where the file says it.

    Rates between the steps of a file are lines, before its first a warm-up from 0 (`rates_between`).
    """
    rows = _json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)
    _check(path, rows)
    steps, rates, losses = rows.values.T
    whole = steps.astype(np.int64)
    try:
        filled = rates_between(whole, rates, warmup_steps=warmup_steps)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return Curve(name=_name(path), rates=filled, steps=whole, losses=losses), rows.batch_tokens


def read_curves(
    paths: Sequence[Path], *, from_step: int | None = None, warmup_steps: int | None = None
) -> tuple[list[Curve], int | None]:
    """Curves of one model and batch, each from `from_step` or the end of its warm-up on."""
    read = [read_curve(path, warmup_steps=warmup_steps) for path in paths]
    batches = {batch: path for path, (_, batch) in zip(paths, read, strict=True) if batch is not None}
    if len(batches) > 1:
        said = ", ".join(f"{batch} in {path}" for batch, path in batches.items())
        raise UserError(f"the curves' updates have different batches: {said}; a law holds for one")
    curves = []
    names = [curve.name for curve, _ in read]
    for path, (curve, _) in zip(paths, read, strict=True):
        name = curve.name if names.count(curve.name) == 1 else str(path)
        first = warm_until(curve.rates) if from_step is None else from_step
        try:
            curves.append(replace(curve, name=name).from_step(first))
        except ValueError as error:
            raise UserError(str(error)) from None
    return curves, next(iter(batches), None)


def _name(path: Path) -> str:
    return path.parent.name if path.name == "metrics.jsonl" and path.parent.name else path.stem


def _csv_rows(path: Path) -> Rows:
    found = table.read(path)
    columns = [found.reals(found.need(name)) for name in COLUMNS]
    batch = found.find("batch_tokens")
    return Rows(
        values=np.stack(columns, axis=1),
        lines=found.lines,
        batch_tokens=_one_batch(path, set(found.positive(batch).tolist())) if batch else None,
    )


def _json_rows(path: Path) -> Rows:
    """Of a run's metrics the updates alone: a line there may also be a validation."""
    kept = list(_updates(path))
    if not kept:
        raise UserError(f"{path}: no line of an update (kind: train)")
    values = [[_number(path, line, row, name) for name in COLUMNS] for line, row in kept]
    batches = {float(row["batch_tokens"]) for _, row in kept if row.get("batch_tokens")}
    return Rows(
        values=np.array(values, float),
        lines=tuple(line for line, _ in kept),
        batch_tokens=_one_batch(path, batches),
    )


def _updates(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else {"kind": None}
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object")
        if row.get("kind", "train") == "train":
            yield number, row


def _number(path: Path, line: int, row: Mapping[str, Any], name: str) -> float:
    if name not in row:
        raise UserError(f"{path}, line {line}: no '{name}'.{nearest(name, row)}")
    value = row[name]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _one_batch(path: Path, batches: set[float]) -> int | None:
    if len(batches) > 1:
        raise UserError(
            f"{path}: the batch grows from {min(batches):.0f} to {max(batches):.0f} tokens; the laws count "
            "updates, which are worth different amounts then, and were made for one batch"
        )
    return int(batches.pop()) if batches else None


def _check(path: Path, rows: Rows) -> None:
    """UserError at the first number that cannot be what its column says."""
    before = -1.0
    for line, (step, rate, loss) in zip(rows.lines, rows.values, strict=True):
        if not (step >= 0 and step == int(step) if math.isfinite(step) else False):
            raise _wrong(path, line, "step", step, "a whole number")
        if step > MOST_STEPS:
            raise _wrong(path, line, "step", step, "updates, not tokens")
        if step <= before:
            raise _wrong(path, line, "step", step, f"above the {before:.0f} of the line before")
        if not 0 <= rate < math.inf:
            raise _wrong(path, line, "lr", rate, "a finite number, not negative")
        if not 0 < loss < math.inf:
            raise _wrong(path, line, "loss", loss, "a finite number above 0; leave out a run that diverged")
        before = step
    if not rows.values[:, 1].any():
        raise UserError(f"{path}: every lr is 0")
    if (middle := float(np.median(rows.values[:, 2]))) > UNTRAINED:
        raise UserError(
            f"{path}: half of the losses are above {middle:.4g}, which no model's nats a token are; "
            "are they perplexities? Then take their natural logarithms"
        )


def _wrong(path: Path, line: int, column: str, value: float, allowed: str) -> UserError:
    return UserError(f"{path}, line {line}: {column} is {value:.12g} and should be {allowed}")
