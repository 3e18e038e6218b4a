"""`pretrain sweep`: many runs that differ in some keys, made on this machine or by a cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.sweep.plan import Plan

Name = Annotated[str, typer.Argument(metavar="SWEEP", help="A path, or the name of a shipped sweep.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Keys of the sweep, such as budgets=[1M], or section.key=value for all of its runs.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, metavar="N", help="Runs at a time; absent: one for every core.")
]
PartOf = Annotated[
    str | None,
    typer.Option("--part", metavar="I/N", help="Make the I-th of N parts alone: for job arrays."),
]
Slurm = Annotated[
    bool,
    typer.Option("--slurm", help="Submit it as a job array; without an sbatch here, print the command."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on, as without; and try runs that failed once more.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and what it would cost.")]


def sweep(
    name: Name,
    overrides: Overrides = None,
    jobs: Jobs = None,
    part: PartOf = None,
    slurm: Slurm = False,
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make all runs of a sweep; results.csv in its folder is what `pretrain laws` reads.

    Killed at any time, the same command goes on: runs that ended are not repeated, the others continue from
    their checkpoints.
    """
    from pretrain.sweep.cost import cost, cost_table
    from pretrain.sweep.load import load_sweep
    from pretrain.sweep.plan import Plan

    plan = Plan(load_sweep(name, overrides or []), _part(part))
    if dry_run:
        if as_json:
            print_json(cost(plan))
        else:
            print_table(cost_table(plan))
        return
    if slurm:
        from pretrain.sweep.slurm import command, submit

        options = [*(["--jobs", str(jobs)] if jobs else []), *(["--resume"] if resume else [])]
        raise typer.Exit(submit(command(name, [*(overrides or []), *options], plan)))
    from pretrain.data.workers import available_cores
    from pretrain.sweep.work import work

    code = work(plan, jobs=jobs or available_cores(), retry=resume)
    if as_json:
        print_json(_result(plan))
    raise typer.Exit(code)


def _result(plan: Plan) -> dict[str, object]:
    from pretrain.sweep.outcome import Outcomes
    from pretrain.sweep.results import FILE

    outcomes = Outcomes(plan.sweep.folder)
    outcomes.look()
    known = [outcomes.get(run.name) for run in plan.points()]
    counts = {
        status: sum(outcome is not None and outcome.status == status for outcome in known)
        for status in ("finished", "diverged", "failed")
    }
    return {"results": str(plan.sweep.folder / FILE), "points": len(known), **counts}


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise UserError(f"--part: '{text}' should be I/N, part I of N, such as 1/8 up to 8/8.")
    return int(numbers[1]), int(numbers[2])
