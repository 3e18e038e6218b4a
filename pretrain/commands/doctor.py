"""`pretrain doctor`: what is wrong with this machine, before a run finds out."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, Overrides, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pretrain.config.schema import Config
    from pretrain.doctor.examination import Needs
    from pretrain.doctor.gpus import GpuFacts
    from pretrain.plan import Plan

Name = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="NAME_OR_PATH",
        help="Also against what this config needs: room for checkpoints, time to send and to save.",
    ),
]
Ranks = Annotated[
    int | None,
    typer.Option(
        "--ranks",
        min=1,
        metavar="N",
        help="Ranks that are started here to measure together. Absent: one a GPU, or 2 without GPUs.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="Where runs are kept. Absent: run.root of the config, or ."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Only what takes no time: nothing is measured, torch is not loaded.")
]


def doctor(
    config: Name = None,
    overrides: Overrides = None,
    ranks: Ranks = None,
    folder: Folder = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Examine this machine: versions, GPUs, disks, clocks, and how fast ranks compute and talk.

    Each line is ok, a note, or a problem with advice. The exit code is 0
    without problems, and 1 with any. Started by torchrun or srun, all ranks of
    all machines measure together, and the first one tells.
    """
    from pretrain.doctor import gpus
    from pretrain.doctor.examination import Patient, examine
    from pretrain.doctor.finding import Finding
    from pretrain.doctor.view import line, summary
    from pretrain.layout import ranks_from

    loaded = _load(config, overrides)
    place = ranks_from({} if quick else os.environ)
    root = folder or Path(loaded.run.root if loaded else ".")
    driver = gpus.ask()
    patient = Patient(
        run_root=root,
        data_root=Path(loaded.data.root) if loaded else None,
        needs=_needs(loaded, place.size if place.size > 1 else ranks, driver.gpus or ()),
        variables=os.environ,
        ranks=place,
        num_ranks=ranks,
        driver=driver,
        quick=quick,
    )
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")

    def say(finding: Finding) -> None:
        if place.first and not as_json:
            typer.echo(line(finding))

    findings = examine(patient, say)
    healthy = all(one.verdict != "problem" for one in findings)
    if place.first and as_json:
        print_json({"ok": healthy, "quick": quick, "findings": [asdict(one) for one in findings]})
    elif place.first:
        typer.echo(summary(findings))
    if place.size > 1:
        # threads of a process group that hangs, or whose store is gone, must not keep this process
        sys.stdout.flush()
        os._exit(0 if healthy else 1)
    raise typer.Exit(0 if healthy else 1)


def _load(config: str | None, overrides: list[str] | None) -> Config | None:
    from pretrain.config.load import load
    from pretrain.errors import UserError

    if config is not None:
        return load(config, overrides or [])
    if overrides:
        raise UserError(f"{overrides[0]}: an override of which config? --config names it")
    return None


def _needs(config: Config | None, num_ranks: int | None, found: Sequence[GpuFacts]) -> Needs:
    """What the plan of the config says, for these GPUs where it knows them.

    `num_ranks`: None: one a GPU. Of one rank where they cannot share the batch.
    """
    from pretrain.doctor.examination import Needs
    from pretrain.doctor.gpus import planned_as
    from pretrain.errors import UserError
    from pretrain.plan import plan
    from pretrain.planning.machine import machine_for

    if config is None:
        return Needs()
    machine = machine_for(config, gpu=planned_as(found))
    try:
        made = plan(config, num_ranks or len(found) or 1, machine)
    except UserError:
        made = plan(config, 1, machine)
    time = made.time
    return Needs(
        checkpoint_bytes=made.checkpoints.one_bytes,
        peak_bytes=made.checkpoints.peak_bytes,
        seconds_between=made.checkpoints.seconds_between,
        sent_bytes=made.own.sent_bytes or None,
        update_seconds=None if time is None else time.seconds_per_update,
        planned_for=_words(made),
    )


def _words(made: Plan) -> str | None:
    """The machine of a plan."""
    gpu = made.machine.gpu
    assumed = " (an assumption)" if made.machine.assumed else ""
    return f"{made.num_ranks} x {gpu.name}{assumed}" if gpu else None
