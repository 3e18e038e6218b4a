"""Fitted laws, predictions and optimised schedules as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple

from rich.console import Group
from rich.table import Table

from pretrain.laws.curve_scores import Scores, mean_score
from pretrain.laws.fitted_law import CurveReport, FittedLaw
from pretrain.laws.predictions import Prediction

SCORES = ("R2", "MAE", "RMSE", "PredE", "WorstE")
NAMES = ("", "curve", "schedule")  # headings of texts
MOST_ROWS = 40  # of a prediction; --json has all


def law_tables(fitted: FittedLaw) -> Group:
    """Constants, and the curves with their scores."""
    constants = [(name, f"{value:.6g}") for name, value in asdict(fitted.law).items()]
    parts = [
        _table(f"{fitted.law.NAME}: constants", ("", "value"), constants),
        _curves("fitted to", fitted.fitted),
    ]
    if fitted.left_out:
        parts.append(_curves("each predicted by a fit to the others", fitted.left_out))
    return Group(*parts)


def prediction_tables(made: Prediction) -> Group:
    """Losses with their bounds, and scores where there was something to compare with."""
    every = -(-len(made.steps) // MOST_ROWS)
    shown = sorted(set(range(len(made.steps) - 1, -1, -every)))
    rows = [made.row(index) for index in shown]
    parts = [_table("predicted loss", tuple(rows[0]), [tuple(map(_number, row.values())) for row in rows])]
    if made.scores:
        parts.append(_table("over all steps", SCORES, [_scores(made.scores)]))
    return Group(*parts)


def comparison_table(rows: Sequence[tuple[str, float, float, float]]) -> Table:
    """Schedules by the last loss that is predicted for them."""
    return _table(
        "predicted last loss",
        ("schedule", "loss", "low", "high"),
        [(name, *(f"{value:.4f}" for value in values)) for name, *values in rows],
    )


def _curves(title: str, reports: Sequence[CurveReport]) -> Table:
    rows = [(one.name, f"{one.first_step}-{one.last_step}", *_scores(one.scores)) for one in reports]
    if len(reports) > 1:
        rows.append(("mean", "", *_scores(mean_score([one.scores for one in reports]))))
    return _table(title, ("curve", "steps", *SCORES), rows)


def _scores(scores: Scores) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value:.5f}" for value in astuple(scores))


def _number(value: float | int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in NAMES else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
