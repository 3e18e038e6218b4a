"""Updates as a table that grows: columns under headings, as many as a line has room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pretrain.monitor.words import short

if TYPE_CHECKING:
    from pretrain.monitor.display import Update

LINES_BETWEEN_HEADINGS = 20
GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Column:
    """One of the table; those of high rank are left out first where there is no room."""

    heading: str
    width: int
    rank: int
    cell: Callable[[Update], str]


def columns(num_steps: int) -> tuple[Column, ...]:
    """All but the last, the time left, which has what remains of a line."""
    width = 2 * len(str(num_steps)) + 1
    return (
        Column(heading="step", width=width, rank=0, cell=lambda update: f"{update.step}/{num_steps}"),
        Column(heading="done", width=4, rank=4, cell=lambda update: f"{update.step / num_steps:.0%}"),
        Column(heading="tokens", width=6, rank=5, cell=lambda update: short(update.tokens)),
        Column(heading="loss", width=7, rank=1, cell=lambda update: decimals(update.loss)),
        Column(heading="lr", width=8, rank=6, cell=lambda update: f"{update.lr:.3g}"),
        Column(heading="grad", width=6, rank=7, cell=lambda update: norm(update.grad_norm)),
        Column(heading="tok/s", width=5, rank=3, cell=lambda update: short(update.tokens_per_second)),
        Column(heading="MFU", width=3, rank=8, cell=lambda update: percent(update.mfu)),
    )


LEFT = 11  # "12 min 05 s"
LEFT_RANK = 2


class Table:
    """Lines of a training run of `num_steps`, none longer than `width` where that is known."""

    def __init__(self, num_steps: int, width: int | None) -> None:
        self._columns = _fitting(columns(num_steps), width)
        self._shows_time = width is None or width >= self._used() + LEFT
        self._lines = 0

    def lines(self, update: Update, time: str) -> list[str]:
        """The update, and now and then the headings above it."""
        heading = [self._line([column.heading for column in self._columns], "left")]
        line = self._line([column.cell(update) for column in self._columns], time)
        self._lines += 1
        return [*heading, line] if self._lines % LINES_BETWEEN_HEADINGS == 1 else [line]

    def _line(self, cells: list[str], time: str) -> str:
        padded = [f"{cell:>{column.width}}" for cell, column in zip(cells, self._columns, strict=True)]
        left = [time.removesuffix(" left")] if self._shows_time else []
        return GAP.join([*padded, *left]).rstrip()

    def _used(self) -> int:
        return sum(column.width + len(GAP) for column in self._columns)


def _fitting(every: tuple[Column, ...], width: int | None) -> tuple[Column, ...]:
    """As many as fit in a line by rank, in their order."""
    if width is None:
        return every
    kept: set[str] = set()
    room = width
    for column in sorted(every, key=lambda column: column.rank):
        time = LEFT if column.rank > LEFT_RANK else 0  # which comes before this column
        if kept and room < column.width + len(GAP) + time:
            break
        kept.add(column.heading)
        room -= column.width + len(GAP)
    return tuple(column for column in every if column.heading in kept)


def decimals(loss: float) -> str:
    """A loss in at most seven characters."""
    if abs(loss) < 10_000:
        return f"{loss:.4f}"[:7]
    return f"{loss:.1e}"


def norm(value: float) -> str:
    """A gradient norm in at most six characters."""
    text = f"{value:.3g}"
    if len(text) <= 6:
        return text
    if 1 <= value < 1e6:
        return f"{value:.0f}"
    return f"{value:.4f}" if 1e-3 <= value < 1 else f"{value:.0e}"


def percent(share: float | None) -> str:
    """A share, or a dash where it is not known."""
    return "-" if share is None else f"{share:.0%}"
