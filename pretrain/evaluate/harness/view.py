"""The results of an evaluation as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from pretrain.evaluate.harness.names import DEFAULT
from pretrain.evaluate.harness.results import Evaluation, Metric, Result


def table(evaluation: Evaluation) -> Table:
    """A line a task, and more where it has more metrics than its main one; parts of groups are left out."""
    at = "" if evaluation.step is None else f", step {evaluation.step}"
    made = Table(title=f"{evaluation.name}{at} ({evaluation.harness})", title_justify="left")
    words = ("task", "metric")
    for title in ("task", "version", "shots", "n", "metric", "value", "± s.e."):
        made.add_column(title, justify="left" if title in words else "right", no_wrap=True)
    for name, result in evaluation.tasks.items():
        if result.group is None:
            for cells in _lines(name, result):
                made.add_row(*cells)
    if mean := average(evaluation):
        made.add_section()
        made.add_row("mean of the paper's", "", "", "", "main", f"{mean:.4f}", "")
    return made


def average(evaluation: Evaluation) -> float | None:
    """Over the paper's tasks, ARC's two halves as one; None where one is missing."""
    if any(name not in evaluation.tasks for name in DEFAULT):
        return None
    score = {name: evaluation.tasks[name].score.value for name in DEFAULT}
    arc = (score.pop("arc_easy") + score.pop("arc_challenge")) / 2
    return (arc + sum(score.values())) / (len(score) + 1)


def _lines(name: str, result: Result) -> Iterator[tuple[str, ...]]:
    rest = [metric for metric in result.metrics if metric != result.main]
    documents = f"{result.samples}" if result.limit is None else f"first {result.samples}"
    head = (name, str(result.version or ""), str(result.num_fewshot), documents)
    yield (*head, f"{result.main} *", *_number(result.score))
    for metric in rest:
        yield ("", "", "", "", metric, *_number(result.metrics[metric]))


def _number(metric: Metric) -> tuple[str, str]:
    return str(metric), "" if metric.stderr is None else f"{metric.stderr:.4f}"
