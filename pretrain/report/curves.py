"""The curves of a run against tokens: loss, learning rate, batch, gradient, speed, memory, balance, noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pretrain.monitor.words import short, size
from pretrain.report.chart import Chart, Curve, chart, sign_and_dash
from pretrain.report.marks import Mark, marks_legend
from pretrain.report.run import RunRecord
from pretrain.report.thin import MOST_POINTS, running_mean, smoothing_width, thinned
from pretrain.report.words import tokens

START_SHARE = 0.05  # of the updates, whose losses may lie beyond the drawing ...
START_SPREADS = 2.0  # ... where they would lie this many times above the spread of the rest


def charts(run: RunRecord, marks: Sequence[Mark]) -> str:
    """All that there are numbers for, as figures side by side."""
    if not len(run.train):
        return ""
    every = (
        _loss(run, marks), _rate(run, marks), _batch(run, marks), _gradient(run, marks), _speed(run, marks),
        _mfu(run, marks), _balance(run, marks), _z_loss(run, marks), _noise(run, marks), _memory(run, marks),
    )  # fmt: skip
    return marks_legend(marks) + f'<div class="charts">{"".join(every)}</div>'


def measured(name: str, x: np.ndarray, y: np.ndarray, kept: np.ndarray | None = None) -> list[Curve]:
    """A noisy column as curves: where there are many values, their running mean over all that they span.

    `kept`: the values that enter the mean, NaN for those that do not; all without it.
    """
    width = smoothing_width(len(y))
    whole = thinned(x, y)
    if width == 1:
        return [Curve(name=name, x=x, y=y)]
    mean = thinned(x, running_mean(y if kept is None else kept, width))
    if whole.each == 1:
        each = Curve(name=f"{name}, each update", x=x, y=y, thin=True)
        return [each, Curve(name=name, x=mean.x, y=mean.mean)]
    return [Curve(name=name, x=mean.x, y=mean.mean, band=(whole.low, whole.high))]


def how_thinned(num_updates: int) -> str:
    """In words, what the points of `measured` stand for."""
    width = smoothing_width(num_updates)
    if width == 1:
        return ""
    each = -(-num_updates // MOST_POINTS)
    band = f" Band: the least and the greatest of every {each:,} updates." if each > 1 else ""
    return f"Line: running mean of {width:,} updates, without those left out.{band}"


def validations(run: RunRecord, first_colour: int = 1) -> Iterator[Curve]:
    """The loss on held-out text, a curve a source."""
    for number, source in enumerate(dict.fromkeys(str(line.get("source")) for line in run.validation)):
        points = [line for line in run.validation if str(line.get("source")) == source]
        x, y = (np.array([line.get(key) for line in points], dtype=np.float64) for key in ("tokens", "loss"))
        seen = thinned(x, y)
        shape, dash = sign_and_dash(number)
        yield Curve(
            name=f"validation, {source}",
            x=seen.x,
            y=seen.mean,
            colour=first_colour + number,
            shape=shape,
            dash=dash,
        )


def loss_limits(loss: np.ndarray, others: Sequence[np.ndarray]) -> tuple[tuple[float, float] | None, str]:
    """Limits that a start far above the rest does not stretch, and a note that says how far up it was."""
    rest = np.concatenate([loss[round(len(loss) * START_SHARE) :], *others])
    rest = rest[np.isfinite(rest)]
    if not len(rest):
        return None, ""
    low, high = float(rest.min()), float(rest.max())
    spread = max(high - low, 0.02 * abs(high))
    top = float(np.nanmax(loss, initial=high))
    if top <= high + START_SPREADS * spread:
        return (low, top), ""
    return (low, high), f"The first losses, up to {top:.1f}, lie above the drawing and are drawn at its edge."


def _loss(run: RunRecord, marks: Sequence[Mark]) -> str:
    x, loss = run.train["tokens"], run.train["loss"]
    kept = np.where(run.train["skipped"] == 1, np.nan, loss)
    held_out = list(validations(run))
    limits, beyond = loss_limits(loss, [curve.y for curve in held_out])
    return chart(
        Chart(
            title="Loss",
            unit="nats per token",
            curves=[*measured("training", x, loss, kept), *held_out],
            marks=marks,
            limits=limits,
            x_limits=_span(run),
            x_format=tokens,
            y_format="{:.4f}".format,
            note=" ".join(filter(None, (how_thinned(len(x)), beyond))),
            wide=True,
        )
    )


def _rate(run: RunRecord, marks: Sequence[Mark]) -> str:
    return _plain(run, marks, "lr", "Learning rate", "of the group with ratio 1")


def _batch(run: RunRecord, marks: Sequence[Mark]) -> str:
    """The batch, where it changes; where it does not it stands among the facts."""
    if len(np.unique(run.train["batch_tokens"])) < 2:
        return ""
    return _plain(run, marks, "batch_tokens", "Batch", "tokens an update", counts=True)


def _gradient(run: RunRecord, marks: Sequence[Mark]) -> str:
    norm = run.train["grad_norm"]
    kept = np.where(run.train["skipped"] == 1, np.nan, norm)
    curves = measured("gradient norm", run.train["tokens"], norm, kept)
    return _chart(run, marks, "Gradient norm", "global, before clipping", curves, log=True)


def _speed(run: RunRecord, marks: Sequence[Mark]) -> str:
    curves = measured("tokens/s", _timed(run), run.timing["tokens_per_second"])
    return _chart(run, marks, "Speed", "tokens/s while updating", curves, from_zero=True, counts=True)


def _mfu(run: RunRecord, marks: Sequence[Mark]) -> str:
    curves = measured("MFU", _timed(run), run.timing["mfu"] * 100)
    unit = "% of the peak, without recomputation"
    return _chart(run, marks, "Model FLOPs utilisation", unit, curves, from_zero=True)


def _balance(run: RunRecord, marks: Sequence[Mark]) -> str:
    curves = measured("balance loss", run.train["tokens"], run.train["balance_loss"])
    unit = "summed over layers; their number where it is even"
    return _chart(run, marks, "Balance loss of the experts", unit, curves)


def _z_loss(run: RunRecord, marks: Sequence[Mark]) -> str:
    curves = measured("z-loss", run.train["tokens"], run.train["z_loss"])
    return _chart(run, marks, "Router z-loss", "mean logsumexp², summed over layers", curves, log=True)


def _noise(run: RunRecord, marks: Sequence[Mark]) -> str:
    """tr(Σ)/|G|², of means over a tenth of the measurements: neither alone is steady, nor is their ratio."""
    trace, square = run.train["noise_trace"], run.train["grad_sq"]
    known = np.isfinite(trace) & np.isfinite(square)
    number = int(known.sum())
    if number < 2:
        return ""
    width = max(3, number // 10) | 1
    above, below = running_mean(trace[known], width), running_mean(square[known], width)
    scale = np.divide(above, below, out=np.full(number, np.nan), where=(below > 0) & (above > 0))
    curves = [
        Curve(name="noise scale", x=run.train["tokens"][known], y=scale),
        Curve(
            name="batch", x=run.train["tokens"][known], y=run.train["batch_tokens"][known], colour=6, dash=1
        ),
    ]
    unit = f"tokens; ratio of means of {width} measurements"
    return _chart(run, marks, "Gradient noise scale", unit, curves, log=True, counts=True)


def _memory(run: RunRecord, marks: Sequence[Mark]) -> str:
    seen = thinned(_timed(run), run.timing["memory_bytes"])
    curves = [Curve(name="peak memory", x=seen.x, y=seen.high)]
    return _chart(run, marks, "Peak memory", "of the first rank", curves, from_zero=True, sizes=True)


def _plain(
    run: RunRecord, marks: Sequence[Mark], key: str, title: str, unit: str, *, counts: bool = False
) -> str:
    """A column without noise: no mean is needed, and the greatest of every few keeps its peaks."""
    seen = thinned(run.train["tokens"], run.train[key])
    curves = [Curve(name=title.lower(), x=seen.x, y=seen.high)]
    return _chart(run, marks, title, unit, curves, from_zero=True, counts=counts)


def _chart(
    run: RunRecord,
    marks: Sequence[Mark],
    title: str,
    unit: str,
    curves: list[Curve],
    *,
    log: bool = False,
    from_zero: bool = False,
    counts: bool = False,
    sizes: bool = False,
) -> str:
    say = size if sizes else short if counts else "{:.4g}".format
    if log:
        curves = [curve for curve in curves if (curve.y > 0).any()]
    return chart(
        Chart(
            title=title,
            unit=unit,
            curves=curves,
            marks=marks,
            x_limits=_span(run),
            x_format=tokens,
            y_format=say,
            tick_format=say if counts or sizes else None,
            log=log,
            from_zero=from_zero,
        )
    )


def _span(run: RunRecord) -> tuple[float, float]:
    """From before the first update to behind the last."""
    return float(run.first_tokens), float(run.train["tokens"][-1])


def _timed(run: RunRecord) -> np.ndarray:
    """Tokens behind the updates of timing.jsonl."""
    return np.interp(run.timing["step"], run.train["step"], run.train["tokens"], left=np.nan)
