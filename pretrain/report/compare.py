"""Several runs on one page, in one table for a terminal, or as one JSON value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.errors import UserError
from pretrain.report.against import Against
from pretrain.report.compare_page import compare_page, result_rows
from pretrain.report.compared import Compared, compared, numbers_of
from pretrain.report.differences import ABSENT, differences
from pretrain.report.result_files import read_results
from pretrain.report.run import read_run
from pretrain.report.score_table import Scored, ScoreTable, as_json, score_table


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What there is to say of several runs, and of models of which only benchmarks are known."""

    runs: tuple[Compared, ...]
    against: Against
    scores: ScoreTable | None
    differing: Mapping[str, list[Any]] | None  # None: not known

    def html(self) -> str:
        """As a page."""
        return compare_page(self.runs, self.against, self.scores, self.differing)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "against": self.against.value,
            "runs": [
                {"name": one.name, "folder": str(one.run.folder), **numbers_of(one.run)} for one in self.runs
            ],
            "results": as_json(self.scores),
            "config": self.differing
            and {
                key: [None if value is ABSENT else value for value in values]
                for key, values in self.differing.items()
            },
        }

    def tables(self) -> list[Any]:
        """For a terminal: what the runs came to, and their benchmarks."""
        heads, rows = result_rows(self.runs)
        turned = list(zip(heads, *rows, strict=True))  # narrow terminals have room for some runs, not columns
        tables = [_table("Runs", turned[0], turned[1:])] if self.runs else []
        return tables + ([_scores(self.scores)] if self.scores else [])


def compare(paths: Sequence[Path], against: Against) -> Comparison:
    """Of run folders, and of files that `pretrain evaluate` wrote for models that are no run of ours.

    Raises UserError where one of them is neither, or where there are not two.
    """
    if len(paths) < 2:
        raise UserError("--compare: name two runs or more.")
    runs = compared([read_run(path) for path in paths if not path.is_file()], against)
    rest = iter(runs)
    configs = [one.run.config for one in runs]
    models = [_of_file(path) if path.is_file() else _of_run(next(rest)) for path in paths]
    return Comparison(
        runs=tuple(runs),
        against=against,
        scores=score_table([model for model in models if model.tasks]),
        differing=differences(configs) if len(configs) > 1 and all(configs) else None,
    )


def _of_run(one: Compared) -> Scored:
    """The newest result of every task."""
    tasks: dict[str, Any] = {}
    for evaluation in one.run.evaluations:
        tasks |= evaluation["tasks"]
    numbers = numbers_of(one.run)
    measured = one.run.evaluations[-1].get("tokens") if one.run.evaluations else None
    return Scored(
        name=one.name, parameters=numbers["parameters"], tokens=measured or numbers["tokens"], tasks=tasks
    )


def _of_file(path: Path) -> Scored:
    try:
        found, damaged = read_results(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: neither a run folder nor a file of `pretrain evaluate` ({error!r})."
        ) from None
    if damaged:
        raise UserError(f"{path}: tasks.{damaged[0]}: no result of a task as `pretrain evaluate` writes it.")
    name = str(found.get("name") or path.stem)
    return Scored(name=name, parameters=None, tokens=found.get("tokens"), tasks=found["tasks"])


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _scores(scores: ScoreTable) -> Any:
    from rich.text import Text

    from pretrain.monitor.words import short

    heads = ["model", "parameters", "tokens", *(column.label for column in scores.columns), "average"]
    rows: list[list[Any]] = [list(heads)]
    for model, cells, average in zip(scores.models, scores.cells, scores.averages, strict=True):
        counts = ["–" if number is None else short(number) for number in (model.parameters, model.tokens)]
        told = [
            Text(str(cell), style="bold" if cell.best else "") if cell else "–" for cell in (*cells, average)
        ]
        rows.append([model.name, *counts, *told])
    turned = list(zip(*rows, strict=True))  # narrow terminals have room for some models, not columns
    return _table("Benchmarks (the best in bold)", turned[0], turned[1:])
