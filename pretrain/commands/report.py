"""`pretrain report`: a run on one page, or several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table
from pretrain.errors import UserError
from pretrain.report.against import Against

Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="A run folder; with --compare two or more, or files of `pretrain evaluate`.",
        show_default=False,
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Lay the runs side by side.")]
AgainstOption = Annotated[
    Against | None,
    typer.Option(
        "--against", help="With --compare: what losses lie over; tokens if not said.", show_default=False
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The page; without it report.html in the run folder, or compare.html here.",
        show_default=False,
    ),
]


def report(
    runs: Runs,
    compare: Compare = False,
    against: AgainstOption = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write everything about a run, finished or not, on one page that opens from disk without a network.

    With --compare: the losses of several runs over each other, what they came
    to, their benchmarks as the paper's tables have them, and where their
    configs differ. The tables are printed as well.
    """
    if compare:
        _compare(runs, against or Against.TOKENS, out or Path("compare.html"), as_json)
        return
    if len(runs) > 1:
        raise UserError(f"{len(runs)} runs: --compare lays them side by side; without it name one.")
    if against is not None:
        raise UserError("--against: only with --compare; the page of one run is over tokens.")
    _one(runs[0], out, as_json)


def _one(run_folder: Path, out: Path | None, as_json: bool) -> None:
    from pretrain.report.write import write_report

    path = write_report(run_folder, out)
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        typer.echo(str(path))


def _compare(runs: list[Path], against: Against, out: Path, as_json: bool) -> None:
    from pretrain.report.compare import compare
    from pretrain.report.write import write_page

    comparison = compare(runs, against)
    path = write_page(out, comparison.html())
    if as_json:
        print_json({"report": str(path), **comparison.to_json()})
        return
    for table in comparison.tables():
        print_table(table)
    typer.echo(str(path))
