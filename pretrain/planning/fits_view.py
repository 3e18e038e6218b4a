"""The ways to cut a run as a table: memory of a rank by ZeRO stage, checkpointing and micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pretrain.plan import Plan
    from pretrain.planning.fits import Row

GIB = 2**30
BEST, OWN, TOO_LARGE = "*", "=", "!"


def fits_tables(plan: Plan) -> RenderableType:
    """Memory, and what ranks send where there are several."""
    usable = plan.machine.usable_bytes
    room = f", up to {usable / GIB:.1f} fits" if usable else ""
    parts: list[RenderableType] = [
        _title(f"GiB of a rank{room}, by batch.micro_sequences"),
        _memory(plan.fits),
        Text(_legend(plan)),
    ]
    if plan.num_ranks > 1:
        parts += [_title("GB that a rank sends in an update, by batch.micro_sequences"), _sent(plan.fits)]
    return Group(*parts)


def _memory(rows: Sequence[Row]) -> Table:
    sizes = _sizes(rows)
    table = _table("ZeRO", "checkpointing", sizes)
    steps = {row.micro_sequences: row.micro_steps for row in rows}
    for (name, kept), cells in _by_way(rows).items():
        table.add_row(name, kept, *(_cell(cells.get(size)) for size in sizes))
    table.add_row("micro-steps", "", *(f"{steps[size]:,}  " for size in sizes))
    return table


def _sent(rows: Sequence[Row]) -> Table:
    sizes = _sizes(rows)
    table = _table("ZeRO", "", sizes)
    for (name, kept), cells in _by_way(rows).items():
        if kept == "none":
            found = (cells.get(size) for size in sizes)
            table.add_row(name, "", *(f"{_short(row.sent_bytes / 1e9)}  " if row else "" for row in found))
    return table


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    marks = (BEST if row.best else "") + (OWN if row.own else "") + (TOO_LARGE if row.fits is False else "")
    return f"{row.memory_bytes / GIB:.{1 if row.memory_bytes >= GIB else 2}f}{marks:<2}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _legend(plan: Plan) -> str:
    known = (
        f"{BEST} best   {TOO_LARGE} does not fit   "
        if plan.machine.memory_bytes
        else "--gpu-memory says what fits   "
    )
    return f"{known}{OWN} as configured"


def _by_way(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, Row]]:
    """Rows by stage and checkpointing, then by micro-batch."""
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        name = str(row.zero_stage) if row.engine == "deepspeed" else row.engine
        found.setdefault((name, row.checkpointing), {})[row.micro_sequences] = row
    return found


def _sizes(rows: Sequence[Row]) -> list[int]:
    return sorted({row.micro_sequences for row in rows})


def _title(words: str) -> Text:
    """Beside the table and not of it, which may be narrower."""
    return Text(f"\n{words}", style="italic")


def _table(first: str, second: str, sizes: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    table.add_column(second)
    for size in sizes:
        table.add_column(f"{size}  ", justify="right", overflow="fold")
    return table
