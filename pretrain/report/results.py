"""Scores of one run: held-out loss over time, and benchmarks by task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pretrain.page import grid, note
from pretrain.report.chart import Chart, Curve, chart, sign_and_dash
from pretrain.report.columns import Line
from pretrain.report.run import RunRecord
from pretrain.report.words import tokens

SCORES = ("step", "tokens", "source", "loss", "±", "bits_per_byte")
MOST_ROWS = 60
LOWER = ("perplexity", "bits_per_byte", "loss")  # in the name of a metric of which less is better


def validation_table(run: RunRecord) -> str:
    """Every validation; of very many some, spread evenly, the last among them."""
    lines = run.validation
    if len(lines) > MOST_ROWS:
        chosen = np.unique(np.linspace(0, len(lines) - 1, MOST_ROWS).round().astype(int))
        lines = tuple(lines[at] for at in chosen)
    columns = SCORES if any(_error(line) for line in lines) else [name for name in SCORES if name != "±"]
    rows = [[_error(line) if name == "±" else _cell(line.get(name)) for name in columns] for line in lines]
    left_out = len(run.validation) - len(lines)
    said = [f"{len(lines)} of {len(run.validation):,} lines, evenly spread."] if left_out else []
    if "±" in columns:
        said.append("±: the standard error of the loss over the held-out text, where it is known.")
    return grid([column.replace("_", " ") for column in columns], rows) + note(" ".join(said))


def benchmarks(run: RunRecord) -> str:
    """The newest results as a table, and over time where there are several."""
    if not run.evaluations:
        return ""
    return _curves(run) + _newest(run.evaluations[-1])


def main_score(task: Mapping[str, Any]) -> tuple[float, float | None] | None:
    """The value of a task's main metric and its standard error."""
    metrics, main = task.get("metrics"), task.get("main")
    found = metrics.get(main) if isinstance(metrics, Mapping) else None
    value = found.get("value") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(value, int | float):
        return None
    error = found.get("stderr")
    return float(value), float(error) if isinstance(error, int | float) else None


def is_lower_better(task: Mapping[str, Any]) -> bool:
    """Whether a task's main metric is one of which less is better."""
    return any(word in str(task.get("main")) for word in LOWER)


def _newest(evaluation: Line) -> str:
    rows = [row for name, task in evaluation["tasks"].items() for row in _task(name, task)]
    where = f"after step {evaluation['step']:,}" if evaluation.get("step") is not None else ""
    said = ", ".join(filter(None, (str(evaluation.get("harness", "")), where)))
    return grid(("task", "shots", "samples", "metric", "value", "±"), rows, "named") + note(said)


def _task(name: str, task: Any) -> Iterator[list[str]]:
    metrics = task.get("metrics") if isinstance(task, Mapping) else None
    for metric, found in (metrics or {}).items():
        if isinstance(found, Mapping) and isinstance(found.get("value"), int | float):
            error = found.get("stderr")
            yield [
                f"{name} (version {task.get('version')})",
                _cell(task.get("num_fewshot")),
                _cell(task.get("samples")),
                f"{metric} *" if metric == task.get("main") else str(metric),
                f"{found['value']:.4g}",
                f"{error:.2g}" if isinstance(error, int | float) else "",
            ]


def _curves(run: RunRecord) -> str:
    """The main metric of every task against tokens: accuracies, and apart from them what should be low."""
    behind = [one for one in run.evaluations if one.get("tokens") is not None]
    if len(behind) < 2:
        return ""
    names = list(dict.fromkeys(name for one in behind for name in one["tasks"]))
    low = {name for name in names if any(is_lower_better(one["tasks"].get(name, {})) for one in behind)}
    groups = (
        ("Accuracies", "%", [name for name in names if name not in low], 100.0),
        ("Perplexities and losses", "lower is better", [name for name in names if name in low], 1.0),
    )
    figures = (_group(behind, *group) for group in groups)
    return f'<div class="charts">{"".join(figures)}</div>'


def _group(behind: Sequence[Line], title: str, unit: str, names: Sequence[str], scale: float) -> str:
    curves = []
    for number, name in enumerate(names):
        scores = [(one["tokens"], main_score(one["tasks"].get(name, {}))) for one in behind]
        known = [(x, score[0] * scale) for x, score in scores if score]
        points = np.array(known, dtype=np.float64).reshape(-1, 2)
        shape, dash = sign_and_dash(number)
        curve = Curve(name=name, x=points[:, 0], y=points[:, 1], colour=number, shape=shape, dash=dash)
        curves.append(curve)
    return chart(Chart(title=title, unit=unit, curves=curves, x_format=tokens))


def _error(line: Line) -> str:
    """The standard error of a validation's loss; nothing where it is not known."""
    error = line.get("loss_se")
    return f"{error:.2g}" if isinstance(error, int | float) else ""


def _cell(value: Any) -> str:
    if value is None:  # what the record writes for NaN and infinity
        return "not finite"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
