"""A page on which several runs lie side by side: their losses, their results, where their configs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pretrain.monitor.words import duration, short
from pretrain.page import grid, listed, marked_grid, note, page, section, text
from pretrain.report.against import Against
from pretrain.report.axis import extent
from pretrain.report.chart import FEW_SIGNS, Chart, Curve, chart, dash_and_sign
from pretrain.report.compared import Compared, numbers_of
from pretrain.report.curves import loss_limits
from pretrain.report.differences import ABSENT
from pretrain.report.look import SCRIPT, STYLE
from pretrain.report.score_table import Cell, ScoreTable
from pretrain.report.thin import smoothing_width, thinned
from pretrain.report.words import figure, plain, tokens

X_NAMES = {Against.TOKENS: "tokens", Against.FLOPS: "FLOPs", Against.SECONDS: "time in updates"}


def compare_page(
    runs: Sequence[Compared],
    against: Against,
    scores: ScoreTable | None,
    differing: Mapping[str, list[Any]] | None,
) -> str:
    """The whole file. `differing`: None where it is not known."""
    names = [one.name for one in runs]
    models = [model.name for model in scores.models] if scores else []
    shown = list(dict.fromkeys([*names, *models]))
    damage = [f"{one.name}: {line}" for one in runs for line in one.run.damage]
    return page(
        "Comparison: " + ", ".join(shown),
        [
            f"<header><h1>{text(' · '.join(shown))}</h1></header>",
            section("Damaged", listed(damage) if damage else ""),
            section("Loss", _losses(runs, against) if runs else ""),
            section("Results", _results(runs) if runs else ""),
            section("Benchmarks", scores_grid(scores)),
            section("Differences of the configs", _differences(runs, differing)),
        ],
        style=STYLE,
        script=SCRIPT,
    )


def result_rows(runs: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    """The headings and a row a run of what they came to, as text."""
    numbers = [numbers_of(one.run) for one in runs]
    sources = list(dict.fromkeys(source for row in numbers for source in row["validation"]))
    heads = ["run", "parameters", "active", "tokens", "training loss", "time in updates"]
    for source in sources:
        heads += [f"loss, {source}", f"bits/byte, {source}"]
    return heads, [_row(one.name, row, sources) for one, row in zip(runs, numbers, strict=True)]


def scores_grid(table: ScoreTable | None) -> str:
    """The table of benchmarks, with standard errors in small print."""
    if table is None:
        return ""
    heads = ["model", "parameters", "tokens", *(column.label for column in table.columns), "average"]
    rows = [
        [text(model.name), _count(model.parameters), _count(model.tokens), *map(_cell, row), _cell(average)]
        for model, row, average in zip(table.models, table.cells, table.averages, strict=True)
    ]
    return marked_grid(heads, rows, "named") + "".join(map(note, table.notes))


def _row(name: str, numbers: Mapping[str, Any], sources: Sequence[str]) -> list[str]:
    cells = [
        name,
        _count(numbers["parameters"]),
        _count(numbers["active_parameters"]),
        _count(numbers["tokens"]),
    ]
    cells.append("–" if numbers["training_loss"] is None else f"{numbers['training_loss']:.4f}")
    cells.append("–" if numbers["seconds"] is None else duration(numbers["seconds"]))
    for source in sources:
        score = numbers["validation"].get(source)
        cells += ["–", "–"] if score is None else [figure(score[key], 5) for key in ("loss", "bits_per_byte")]
    return cells


def _results(runs: Sequence[Compared]) -> str:
    heads, rows = result_rows(runs)
    return grid(heads, rows, "named") + note("Training loss: the last value of its running mean.")


def _losses(runs: Sequence[Compared], against: Against) -> str:
    training = [_training(one, number) for number, one in enumerate(runs) if len(one.x)]
    sources = list(dict.fromkeys(str(line.get("source")) for one in runs for line in one.run.validation))
    held_out = [curve for number, one in enumerate(runs) for curve in _validation(one, number, sources)]
    figures = [
        _chart(runs, "Training loss", training, against, _smoothing(runs)),
        _chart(runs, "Validation loss", held_out, against, ""),
    ]
    return f'<div class="charts">{"".join(figures)}</div>' if any(figures) else ""


def _chart(runs: Sequence[Compared], title: str, curves: Sequence[Curve], against: Against, said: str) -> str:
    limits, beyond = _limits([curve.y for curve in curves])
    return chart(
        Chart(
            title=title,
            unit="nats per token",
            curves=curves,
            x_name=X_NAMES[against],
            x_limits=_span(runs, against),
            x_format=duration
            if against is Against.SECONDS
            else _flops
            if against is Against.FLOPS
            else tokens,
            y_format="{:.4f}".format,
            limits=limits,
            note=" ".join(filter(None, (said, beyond))),
            wide=True,
        )
    )


def _span(runs: Sequence[Compared], against: Against) -> tuple[float, float] | None:
    """From the first update of all, of FLOPs and time from nothing, to the last of all."""
    ends = extent(one.x for one in runs)
    first = min(one.run.first_tokens for one in runs) if against is Against.TOKENS else 0.0
    return ends and (float(first), ends[1])


def _limits(losses: Sequence[np.ndarray]) -> tuple[tuple[float, float] | None, str]:
    """Limits for all runs together, of which none is stretched by a run's start."""
    each = [loss_limits(loss, []) for loss in losses]
    known = [limits for limits, _ in each if limits]
    if not known:
        return None, ""
    beyond = any(said for _, said in each)
    said = "The first losses lie above the drawing and are drawn at its edge." if beyond else ""
    return (min(low for low, _ in known), max(high for _, high in known)), said


def _training(one: Compared, number: int) -> Curve:
    seen = thinned(one.x, one.loss)
    dash, shape = dash_and_sign(number)
    return Curve(name=one.name, x=seen.x, y=seen.mean, colour=number, dash=dash, shape=shape, signs=FEW_SIGNS)


def _validation(one: Compared, number: int, sources: Sequence[str]) -> Iterator[Curve]:
    """Of every source: the run's colour and dash, the source's sign, another where dashes come again."""
    again = dash_and_sign(number)[1] or 0
    for place, source in enumerate(sources):
        lines = [line for line in one.run.validation if str(line.get("source")) == source]
        if not lines:
            continue
        steps, loss = (
            np.array([line.get(key) for line in lines], dtype=np.float64) for key in ("step", "loss")
        )
        name = f"{one.name}, {source}" if len(sources) > 1 else one.name
        seen = thinned(one.at(steps), loss)
        shape = place + again * len(sources)
        yield Curve(name=name, x=seen.x, y=seen.mean, colour=number, shape=shape, dash=number)


def _smoothing(runs: Sequence[Compared]) -> str:
    widths = {smoothing_width(len(one.x)) for one in runs} - {1}
    return (
        f"Running means of {', '.join(f'{width:,}' for width in sorted(widths))} updates." if widths else ""
    )


def _differences(runs: Sequence[Compared], differing: Mapping[str, list[Any]] | None) -> str:
    """Nothing where there are not two runs to differ."""
    if differing is None:
        unknown = [one.name for one in runs if not one.run.config]
        said = f"Not known: the config.yaml of {', '.join(unknown)} is missing or cannot be read."
        return f"<p>{text(said)}</p>" if len(runs) > 1 else ""
    rows = [
        [key, *("–" if value is ABSENT else plain(value) for value in values)]
        for key, values in differing.items()
    ]
    return grid(["key", *(one.name for one in runs)], rows, "named") or "<p>None but their names.</p>"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    error = f' <span class="se">±{cell.stderr:.1f}</span>' if cell.stderr is not None else ""
    return f'<span class="best">{cell}</span>{error}' if cell.best else f"{cell}{error}"


def _count(number: int | None) -> str:
    return "–" if number is None else short(number)


def _flops(value: float) -> str:
    return f"{value:.3g}"
