"""A table that cuts no number short: what does not fit beside the first columns goes below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

BETWEEN = 2  # spaces between columns


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading and the texts below it."""

    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """Columns of a terminal that it takes."""
        return max(map(len, (self.heading, *self.cells))) + BETWEEN


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Rendered as one table, or as several under each other that all begin with `first`."""

    title: str
    first: Sequence[Column]
    others: Sequence[Column]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks a thing to print."""
        room = options.max_width + BETWEEN - sum(column.width for column in self.first)
        for number, columns in enumerate(_fitting(self.others, room)):
            yield _table("" if number else self.title, [*self.first, *columns])


def _fitting(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """Neighbours that fit into `room` together, one at least."""
    together: list[Column] = []
    for column in columns:
        if together and sum(one.width for one in (*together, column)) > room:
            yield together
            together = []
        together.append(column)
    yield together


def _table(title: str, columns: Sequence[Column]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for column in columns:
        # a terminal narrower than even this folds a number, and loses none of it
        table.add_column(column.heading, justify="right", overflow="fold")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table
