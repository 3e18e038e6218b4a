"""Curves over tokens as a sketch in a terminal: axes, round numbers, and a legend where there are several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from megatron_lite.options import format_count
from pretrain.rates.canvas import DOTS_ACROSS, MARKS, canvas, own_mark
from pretrain.rates.rates import Line
from pretrain.rates.ticks import round_step, ticks

WIDEST = 72
NARROWEST = 32  # columns, below which a sketch says nothing
LABEL_WIDTH = 7  # of a number on the vertical axis
ROWS_PER_TICK, COLUMNS_PER_TICK = 3, 11
FRAME, ASCII_FRAME = tuple("│┤└─┬"), tuple("|++-+")
COLOURS = ("blue", "red", "green", "magenta", "yellow", "cyan", "white")  # of the first curve, then by mark


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Rendered as wide as there is room for, and in ASCII where the output knows no more."""

    title: str
    lines: Sequence[Line]
    first: int  # tokens at the left edge
    last: int  # at the right
    height: int
    show: Callable[[float], str]  # a number of the vertical axis, which begins at 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks a thing to print."""
        columns = min(WIDEST, options.max_width) - LABEL_WIDTH - 2
        if columns < NARROWEST:
            return
        yield Text(f"\n{self.title}", style="italic")
        yield Text("\n", no_wrap=True).join(self._rows(columns, options.ascii_only))
        if len(self.lines) > 1:
            for row in self._legend(columns, options.ascii_only):
                yield Text(" " * (LABEL_WIDTH + 2)).append_text(row)

    def _rows(self, columns: int, ascii_only: bool) -> Iterator[Text]:
        wall, tick, corner, floor, foot = ASCII_FRAME if ascii_only else FRAME
        places = _places(self.first, self.last, DOTS_ACROSS * columns)
        curves = [[line.value(tokens) for tokens in places] for line in self.lines]
        top, labels = _vertical(max(map(max, curves)) or 1.0, self.height, self.show)
        drawn = canvas(curves, top=top, width=columns, height=self.height, ascii_only=ascii_only)
        for number, row in enumerate(drawn):
            label = labels.get(number, "")
            yield Text(f"{label:>{LABEL_WIDTH}} {tick if label else wall}").append_text(_coloured(row))
        horizontal = _horizontal(self.first, self.last, columns)
        edge = "".join(foot if column in horizontal else floor for column in range(columns))
        yield Text(f"{'':{LABEL_WIDTH}} {corner}{edge}")
        yield Text(_centred(horizontal, columns, indent=LABEL_WIDTH + 2))

    def _legend(self, columns: int, ascii_only: bool) -> Iterator[Text]:
        """As many entries in a row as there is room for."""
        marks = [own_mark(ascii_only), *(MARKS[number % len(MARKS)] for number in range(len(self.lines) - 1))]
        row = Text()
        for mark, line in zip(marks, self.lines, strict=True):
            entry = _coloured(mark).append(f" {line.label}   ", style="none")
            if row and len(row) + len(entry) > columns:
                yield row
                row = Text()
            row += entry
        yield row


def _places(first: int, last: int, num: int) -> list[int]:
    return [first + index * (last - first) // (num - 1) for index in range(num)]


def _vertical(highest: float, height: int, show: Callable[[float], str]) -> tuple[float, Mapping[int, str]]:
    """The top of the axis, a round number, and labels by row from above."""
    step = round_step(highest / (height // ROWS_PER_TICK))
    steps = -int(-highest / step * (1 - 1e-9) // 1)
    rows = {height - 1 - round(index / steps * (height - 1)): index * step for index in range(steps + 1)}
    return steps * step, {row: show(value) for row, value in rows.items()}


def _horizontal(first: int, last: int, columns: int) -> Mapping[int, str]:
    """Labels by column."""
    round_counts = (round(count) for count in ticks(first, last, columns // COLUMNS_PER_TICK + 1))
    return {
        round((count - first) / (last - first) * (columns - 1)): format_count(count) for count in round_counts
    }


def _centred(labels: Mapping[int, str], columns: int, indent: int) -> str:
    """Labels under their columns; one that would leave the picture is moved in."""
    row = ""
    for column, label in labels.items():
        start = min(indent + column - len(label) // 2, indent + columns - len(label))
        row = f"{row:{start}}{label}"
    return row


def _coloured(characters: str) -> Text:
    """Each curve in a colour, where the output has any."""
    text = Text(characters, style=COLOURS[0])
    for number, mark in enumerate(MARKS):
        text.highlight_words([mark], COLOURS[1 + number])
    return text
