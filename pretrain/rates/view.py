"""Learning rates for people: a table, sketches, and a line about what is surprising."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from megatron_lite.options import format_count
from pretrain.rates.columns import Column, Columns
from pretrain.rates.points import Point
from pretrain.rates.rates import Line, Rates
from pretrain.rates.sketch import Sketch

RISING = "rises with the batch"
LR_ROWS, BATCH_ROWS = 13, 5  # of the sketches


def overview(rates: Rates) -> RenderableType:
    """The whole run."""
    points = rates.evenly()
    since = (-1, *(point.tokens for point in points))
    return Group(_table(rates, points, since), *sketches(rates))


def values(rates: Rates, points: Sequence[Point]) -> RenderableType:
    """Only what was asked for."""
    return _table(rates, points, [point.tokens - 1 for point in points])


def _table(rates: Rates, points: Sequence[Point], since: Sequence[int]) -> Columns:
    """`since`: a point is marked where the rate rises with the batch between this and its own count."""
    first = [
        Column(heading="tokens", cells=[f"{point.tokens:,}" for point in points]),
        Column(heading="", cells=[format_count(point.tokens) for point in points]),
    ]
    found = [segment.first_tokens for segment, _, _ in rates.rises]
    marked = [
        any(after < rise <= point.tokens for rise in found)
        for after, point in zip(since, points, strict=False)
    ]
    return Columns(
        title=f"{rates.name}: learning rate ({rates.config.schedule.name})",
        first=first,
        others=list(_columns(rates, points, marked)),
    )


def _columns(rates: Rates, points: Sequence[Point], marked: Sequence[bool]) -> Iterator[Column]:
    if rates.batch_changes:
        yield Column(heading="batch tokens", cells=[f"{point.batch_tokens:,}" for point in points])
    yield Column(heading="lr", cells=[f"{point.lr:.6g}" for point in points])
    if any(marked):
        yield Column(heading="", cells=[RISING if mark else "" for mark in marked])
    for name in rates.ratios:
        yield Column(heading=name, cells=[f"{point.groups[name]:.6g}" for point in points])
    for words in rates.others:
        yield Column(heading=words, cells=[f"{point.compare[words]:.6g}" for point in points])


def sketches(rates: Rates) -> Iterator[Sketch]:
    """The rate against tokens, and the batch where it grows."""
    ends = {"first": rates.first, "last": rates.last}
    yield Sketch(
        title="learning rate against tokens",
        lines=rates.lines(),
        height=LR_ROWS,
        show=lambda lr: f"{lr:.3g}",
        **ends,
    )
    if rates.batch_changes:
        batch = Line(label="batch", value=rates.derived.batch.tokens_at)
        yield Sketch(
            title="tokens in a batch",
            lines=[batch],
            height=BATCH_ROWS,
            show=lambda tokens: format_count(round(tokens)),
            **ends,
        )
