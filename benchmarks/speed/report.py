"""The figures as a table on the terminal and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from speed.cases import CASES, GIVEN
from speed.summary import Row

COLUMNS = ("contender", "tokens/s", "× eager", "× compiled", "of peak", "MiB", "loss")

METHOD = """\
A step is forward, backward, clipping at norm 1.0 and torch's fused AdamW, from the same weights on the
same tokens in the same order. The loss in the table is that of the first step; first losses, gradient
norms and the losses after warm-up are compared, and who differs is named. Where nothing else is said,
AdamW works on the weights in the precision of the table, for everybody. The engines and `ours, fp32
masters` keep fp32 copies and compute the router's losses (with weight 0, so that all train on the same
loss); nobody else does.

Every contender has a process of its own, with all cores, `OMP_WAIT_POLICY=PASSIVE` and malloc told to
keep freed memory, which stays alive and waits; they run in turn, one at a time, each turn beginning with
a step that is not timed. Tokens/s is the median over rounds, and a round's time the median of its steps.
`× eager` and `× compiled` are medians of the ratios within a round, against the fastest of transformers'
eager and of its compiled models. The share of the peak is 6 FLOPs a token for every weight of a matrix
product that the token uses (the head is one) and 6 · layers · width · sequence length for causal
attention, over the time, over the best matrix product that the same process measured in the same
precision right after the steps (in fp32 where the processor has no bf16). `MiB` is the peak memory over
the first round's steps beyond what the process held before the model was built, with its libraries
loaded; for compiled models that includes what compiling leaves behind."""


def show(rows: Sequence[Row], console: Console) -> None:
    """Print one table for shape and precision, and what stands below it."""
    table = Table(title=_title(rows[0]), title_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        if row.tokens_per_second is not None:
            table.add_row(*_cells(row))
    console.print(table)
    for line in remarks(rows):
        console.print(line, highlight=False, markup=False)


def page(groups: Iterable[Sequence[Row]], facts: Mapping[str, str], command: str, settings: str) -> str:
    """A page of Markdown that says how it was made."""
    parts = ["# Speed and memory of a training step", f"    {command}", settings]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    parts.append(METHOD)
    notes: dict[str, str] = {}
    for rows in groups:
        head = "| " + " | ".join(COLUMNS) + " |\n|---" + "|---:" * (len(COLUMNS) - 1) + "|"
        body = ["| " + " | ".join(_cells(row)) + " |" for row in rows if row.tokens_per_second is not None]
        parts += [f"## {_title(rows[0])}", _described(rows[0].shape), "\n".join([head, *body])]
        below = remarks(rows)
        if below:
            parts.append("\n".join(f"- {line}" for line in below))
        notes |= {row.contender: row.note for row in rows}
    parts += ["## Contenders", "\n".join(f"- `{name}`: {note}" for name, note in notes.items())]
    return "\n\n".join(parts) + "\n"


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the table has no column for: our kernels, what engines cost, who is missing, who differs."""
    chosen = next((row.kernels for row in rows if row.kernels), ())
    kernels = [f"our decoder chooses {'; '.join(chosen)}"] if chosen else []
    costs = [
        f"{row.contender}: {row.over_bare - 1:+.1%} time over the same work without an engine"
        for row in rows
        if row.over_bare is not None
    ]
    absent = [f"{row.contender}: {row.missing}" for row in rows if row.missing]
    wrong = [f"{row.contender} TRAINS SOMETHING ELSE: {row.differs}" for row in rows if row.differs]
    return kernels + costs + absent + wrong


def _title(row: Row) -> str:
    return f"{row.shape}, {row.precision}"


def _described(shape: str) -> str:
    case = CASES[shape]
    sizes = ", ".join(f"{key} {value}" for key, value in case.model.items())
    return f"{sizes}, vocab_size {GIVEN['vocab_size']}; {case.sequences} sequences of {case.sequence_length}."


def _cells(row: Row) -> list[str]:
    return [
        row.contender,
        _text(row.tokens_per_second, "{:.0f}"),
        _text(row.over_eager, "{:.2f}"),
        _text(row.over_compiled, "{:.2f}"),
        _text(row.share_of_peak, "{:.0%}"),
        _text(None if row.peak_bytes is None else row.peak_bytes / 2**20, "{:.0f}"),
        _text(row.loss, "{:.4f}"),
    ]


def _text(value: float | None, style: str) -> str:
    return "" if value is None else style.format(value)
