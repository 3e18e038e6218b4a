"""What happens inside the model, by layer and over time: experts' load, routers' entropy, sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrain.report.chart import FEW_SIGNS, Chart, Curve, chart, dash_and_sign
from pretrain.report.columns import Line
from pretrain.report.heat import AROUND, Heat, colour, heat
from pretrain.report.marks import Mark
from pretrain.report.run import RunRecord
from pretrain.report.words import tokens

MOST_LAYERS = 8  # as curves; of more, that many spread evenly
DEPTHS = ("#2f7bd6", "#7f8a97", "#c98500")  # of like lightness: none is lost on dark ground or on light
SIZES = (
    ("activation_rms", "Activations", "root mean square of the residual stream behind a layer"),
    ("weight_rms", "Weights", "root mean square"),
    ("update_ratio", "Updates", "root mean square, relative to the weights'"),
    ("gradient_rms", "Gradients", "root mean square"),
)
OTHERS = (("embedding", 1, 0), ("head", 3, 2))  # with their colour and sign, which no layer has


def layers(run: RunRecord, marks: Sequence[Mark]) -> str:
    """Heat maps of the experts and curves of sizes, of what statistics.jsonl holds."""
    lines = [line for line in run.statistics.lines if _layers(line)]
    if not lines:
        return ""
    some = len(lines) < run.statistics.of
    told = f"{len(lines)} of {run.statistics.of:,} records, evenly spread." if some else ""
    maps = [_imbalance(lines, told), _entropy(lines, told), _last_load(lines)]
    curves = [_sizes(run, lines, marks, told, *size) for size in SIZES]
    return f'<div class="charts">{"".join([*maps, *curves])}</div>'


def _layers(line: Line) -> list[Any]:
    found = line.get("layers")
    return found if isinstance(found, list) and all(isinstance(layer, dict) for layer in found) else []


def _imbalance(lines: Sequence[Line], told: str) -> str:
    """The load of the busiest expert: 1 where all are equally busy, E where one has all."""
    values = _over_time(lines, lambda layer: _busiest(layer))
    top = max(2.0, float(np.nanmax(values, initial=1.0)))
    return heat(
        _heat(
            lines,
            "Busiest expert",
            "its load over the mean; 1 is even",
            values,
            1.0,
            top,
            note=told,
            log=True,
        )
    )


def _busiest(layer: Line) -> float | None:
    load = layer.get("expert_load")
    return max(load) * len(load) if load and None not in load else None


def _entropy(lines: Sequence[Line], told: str) -> str:
    """Of the routers' probabilities, over the most that it can be."""
    values = _over_time(lines, lambda layer: layer.get("router_entropy"))
    experts = max(
        (len(layer.get("expert_load") or ()) for line in lines for layer in _layers(line)), default=0
    )
    if experts < 2:
        return ""
    unit = f"over ln {experts}; 1 is undecided, 0 certain"
    return heat(_heat(lines, "Router entropy", unit, values / math.log(experts), 0.0, 1.0, note=told))


def _heat(
    lines: Sequence[Line], title: str, unit: str, values: np.ndarray, low: float, high: float, *, note: str,
    log: bool = False,
) -> Heat:  # fmt: skip
    return Heat(
        title=title,
        unit=unit,
        values=values,
        rows=_row_names(values),
        columns=[tokens(line.get("tokens") or 0) for line in lines],
        x_name="tokens",
        low=low,
        high=high,
        log=log,
        note=note,
    )


def _row_names(values: np.ndarray) -> list[str]:
    return [f"layer {number}" for number in range(1, len(values) + 1)]


def _last_load(lines: Sequence[Line]) -> str:
    """Every expert's load at the last record, around the even one."""
    layers = _layers(lines[-1])
    experts = max(len(layer.get("expert_load") or ()) for layer in layers)
    if not experts:
        return ""
    values = np.full((len(layers), experts), np.nan)
    for row, layer in enumerate(layers):
        load = np.array(layer.get("expert_load") or [], dtype=np.float64)
        values[row, : len(load)] = load * len(load)
    at = tokens(lines[-1].get("tokens") or 0)
    return heat(
        Heat(
            title="Load of every expert",
            unit=f"over the mean, at {at} tokens",
            values=values,
            rows=_row_names(values),
            columns=[str(number) for number in range(1, experts + 1)],
            x_name="expert",
            low=0.25,
            high=4.0,
            log=True,
            colours=AROUND,
            says="× {:.2f}".format,
        )
    )


def _over_time(lines: Sequence[Line], value: Any) -> np.ndarray:
    """Layers × records."""
    num_layers = max(len(_layers(line)) for line in lines)
    values = np.full((num_layers, len(lines)), np.nan)
    for column, line in enumerate(lines):
        for row, layer in enumerate(_layers(line)):
            found = value(layer)
            values[row, column] = np.nan if found is None else found
    return values


def _sizes(
    run: RunRecord, lines: Sequence[Line], marks: Sequence[Mark], told: str, key: str, title: str, unit: str
) -> str:
    x = np.array([line.get("tokens") for line in lines], dtype=np.float64)
    values = _over_time(lines, lambda layer: _size(layer, key))
    chosen = np.unique(np.linspace(0, len(values) - 1, min(MOST_LAYERS, len(values))).round().astype(int))
    some = f"{len(chosen)} of {len(values)} layers." if len(chosen) < len(values) else ""
    curves = []
    for number, row in enumerate(chosen):
        name, hue, (dash, shape) = f"layer {row + 1}", _depth(row, len(values)), dash_and_sign(number)
        curves.append(
            Curve(name=name, x=x, y=values[row], colour=hue, dash=dash, shape=shape, signs=FEW_SIGNS)
        )
    for name, colour_number, shape in OTHERS:
        y = np.array([_size(line.get(name) or {}, key) for line in lines], dtype=np.float64)
        curves.append(Curve(name=name, x=x, y=y, colour=colour_number, shape=shape, signs=FEW_SIGNS))
    return chart(
        Chart(
            title=f"{title} by layer",
            unit=unit,
            curves=[curve for curve in curves if (curve.y > 0).any()],
            marks=marks,
            x_limits=(float(run.first_tokens), float(run.train["tokens"][-1])) if len(run.train) else None,
            x_format=tokens,
            log=True,
            note=" ".join(filter(None, (some, told))),
        )
    )


def _size(part: Line, key: str) -> float | None:
    if key != "update_ratio":
        return part.get(key)
    update, weight = part.get("update_rms"), part.get("weight_rms")
    return update / weight if update is not None and weight else None


def _depth(row: int, num_layers: int) -> str:
    return colour(row / max(1, num_layers - 1), DEPTHS)
