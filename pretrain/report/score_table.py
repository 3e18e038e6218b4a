"""Benchmarks of several models as the paper's tables have them: tasks as columns, models as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.report.results import is_lower_better, main_score

# The paper's columns in its order; what is not named comes behind, under its own name
LABELS = {
    "wikitext": "Wiki ppl",
    "arc": "ARC",
    "arc_easy": "ARC-e",
    "arc_challenge": "ARC-c",
    "boolq": "BoolQ",
    "hellaswag": "HellaSwag",
    "openbookqa": "OBQA",
    "piqa": "PIQA",
    "winogrande": "WinoGrande",
    "gsm8k": "GSM8K",
    "gsm8k_cot": "GSM8K-CoT",
    "minerva_math": "MATH",
    "humaneval": "HumanEval",
    "mbpp": "MBPP",
    "mmlu": "MMLU",
}
ARC = ("arc_easy", "arc_challenge")
FEW_DIGITS = 1000  # from here on no digit behind the point


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model and what was measured of it: the content of a file of `pretrain evaluate`."""

    name: str
    parameters: int | None
    tokens: int | None
    tasks: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A task under one number of shots."""

    task: str
    shots: int
    lower_is_better: bool

    @property
    def label(self) -> str:
        """As a heading."""
        shots = f" {self.shots}s" if self.shots else ""
        return LABELS.get(self.task, self.task) + shots


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A score: accuracies in percent, perplexities as they are."""

    value: float
    stderr: float | None
    best: bool = False

    def __str__(self) -> str:
        return f"{self.value:.1f}" if abs(self.value) < FEW_DIGITS else f"{self.value:.5g}"


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """`cells[row][column]`; the average is over all columns of which more is better, where a row has all."""

    models: tuple[Scored, ...]
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    averages: tuple[Cell | None, ...]
    notes: tuple[str, ...]


def score_table(models: Sequence[Scored]) -> ScoreTable | None:
    """None where nothing was measured."""
    scores = [_scores(model) for model in models]
    columns = sorted({column for row in scores for column in row}, key=_place)
    if not columns:
        return None
    cells = [[row.get(column) for column in columns] for row in scores]
    marked = [
        _with_best(row, column.lower_is_better)
        for row, column in zip(zip(*cells, strict=True), columns, strict=True)
    ]
    averages = [_average(columns, row) for row in cells]
    return ScoreTable(
        models=tuple(models),
        columns=tuple(columns),
        cells=tuple(zip(*marked, strict=True)),
        averages=tuple(_with_best(averages, lower=False)),
        notes=tuple(_notes(models, columns)),
    )


def as_json(table: ScoreTable | None) -> Any:
    """The table as plain values."""
    if table is None:
        return None
    return {
        "columns": [{"task": c.task, "num_fewshot": c.shots, "label": c.label} for c in table.columns],
        "rows": [
            {
                "name": model.name,
                "parameters": model.parameters,
                "tokens": model.tokens,
                "values": [
                    cell and {"value": cell.value, "stderr": cell.stderr, "best": cell.best} for cell in row
                ],
                "average": average and average.value,
            }
            for model, row, average in zip(table.models, table.cells, table.averages, strict=True)
        ],
        "notes": list(table.notes),
    }


def _scores(model: Scored) -> dict[Column, Cell]:
    found: dict[Column, Cell] = {}
    for name, task in model.tasks.items():
        score = main_score(task)
        if score is None:
            continue
        lower = is_lower_better(task)
        column = Column(task=name, shots=int(task.get("num_fewshot") or 0), lower_is_better=lower)
        scale = 1.0 if lower else 100.0
        found[column] = Cell(value=score[0] * scale, stderr=None if score[1] is None else score[1] * scale)
    return dict(_with_arc(found))


def _with_arc(found: Mapping[Column, Cell]) -> Iterator[tuple[Column, Cell]]:
    """The mean of both halves of ARC in their place, where both were measured alike."""
    for shots in {column.shots for column in found if column.task in ARC}:
        halves = [Column(task=name, shots=shots, lower_is_better=False) for name in ARC]
        if all(half in found for half in halves):
            errors = [found[half].stderr for half in halves]
            known = [error for error in errors if error is not None]
            error = sum(e**2 for e in known) ** 0.5 / 2 if len(known) == len(errors) else None
            yield (
                Column(task="arc", shots=shots, lower_is_better=False),
                Cell(value=sum(found[half].value for half in halves) / 2, stderr=error),
            )
            found = {column: cell for column, cell in found.items() if column not in halves}
    yield from found.items()


def _place(column: Column) -> tuple[int, str, int]:
    known = list(LABELS)
    place = known.index(column.task) if column.task in known else len(known)
    return place, column.task, column.shots


def _with_best(cells: Sequence[Cell | None], lower: bool) -> list[Cell | None]:
    """The best of a column marked, and all that look like it; of one alone none."""
    known = [float(str(cell)) for cell in cells if cell]
    best = (min if lower else max)(known, default=None) if len(known) > 1 else None
    return [
        cell and Cell(value=cell.value, stderr=cell.stderr, best=float(str(cell)) == best) for cell in cells
    ]


def _average(columns: Sequence[Column], cells: Sequence[Cell | None]) -> Cell | None:
    counted = [cell for column, cell in zip(columns, cells, strict=True) if not column.lower_is_better]
    known = [cell.value for cell in counted if cell]
    return Cell(value=sum(known) / len(known), stderr=None) if known and len(known) == len(counted) else None


def _notes(models: Sequence[Scored], columns: Sequence[Column]) -> Iterator[str]:
    """What a reader has to know, or what makes rows incomparable."""
    yield "Accuracies in percent, by the main metric of each task; the best of a column in bold."
    if any(column.task == "arc" for column in columns):
        yield "ARC is the mean of ARC-easy and ARC-challenge."
    for name in dict.fromkeys(name for model in models for name in model.tasks):
        for key, word in (("version", "versions"), ("samples", "numbers of samples"), ("main", "metrics")):
            said = {str(model.tasks[name].get(key)) for model in models if name in model.tasks}
            if len(said) > 1:
                yield f"{name}: rows differ in their {word} ({', '.join(sorted(said))})."
