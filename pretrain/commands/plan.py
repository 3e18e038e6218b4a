"""`pretrain plan`: what a run will be, before anything is paid for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

if TYPE_CHECKING:
    from pretrain.config.schema import Config
    from pretrain.plan import Plan

Ranks = Annotated[
    int, typer.Option("--ranks", min=1, metavar="N", help="Ranks (GPUs) that the run is spread over.")
]
GpuName = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="h100, h100-pcie, h100-nvl, h200, gh200, b200, a100-80, a100-40, l40s, rtx-4090. Absent: a bf16 "
        "run is planned for h100, one in fp32 for a CPU.",
    ),
]
GpuMemory = Annotated[
    str | None, typer.Option("--gpu-memory", metavar="SIZE", help="Of one GPU, such as 80G.")
]
Mfu = Annotated[
    float | None,
    typer.Option(
        "--mfu", metavar="SHARE", help="Of the peak that the run reaches, such as 0.4. Absent: as measured."
    ),
]
Price = Annotated[float | None, typer.Option("--price", metavar="MONEY", help="Of a GPU and hour.")]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw the learning rate, as .png, .svg or .pdf."),
]


def plan(
    config: ConfigName,
    overrides: Overrides = None,
    ranks: Ranks = 1,
    gpu: GpuName = None,
    gpu_memory: GpuMemory = None,
    mfu: Mfu = None,
    price: Price = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Show whether a run fits, how long it takes, what it costs and needs, and what to look at twice.

    Nothing is allocated. First the answers and warnings, then what they
    follow from: ways to cut the run, parameters, stages, optimizer groups,
    memory of a rank by part, what ranks send, the learning rate. Memory and
    speed are estimates, and the page docs/planning.md says of what kind.
    """
    from pretrain.config.load import load
    from pretrain.plan import plan as make_plan
    from pretrain.planning.machine import machine_for

    loaded = load(config, overrides or [])
    machine = machine_for(loaded, gpu=gpu, memory=gpu_memory, mfu=mfu, price=price)
    if plot is not None:
        from pretrain.rates.plot import check

        check(plot)
    made = _with_data(make_plan(loaded, num_ranks=ranks, machine=machine), loaded)
    if plot is not None:
        _draw(plot, loaded)
    if as_json:
        print_json(made.to_json())
    else:
        from pretrain.plan_view import plan_tables
        from pretrain.rates.rates import rates_of

        print_table(plan_tables(made, rates_of(loaded)))


def _with_data(made: Plan, config: Config) -> Plan:
    """The plan with how often each source is read, where the corpus is built, and what is wrong with that."""
    from pretrain.config.past import derived_of
    from pretrain.data.outlook import data_advice, planned_training
    from pretrain.planning.text import with_epochs

    derived = derived_of(config)
    training = planned_training(config.data, derived, config.run.seed)
    if training is None:
        return made
    said = tuple(data_advice(training, config.data, derived))
    return replace(made, data=with_epochs(made.data, training), warnings=(*made.warnings, *said))


def _draw(path: Path, config: Config) -> None:
    from pretrain.rates.plot import draw
    from pretrain.rates.rates import rates_of

    draw(path, rates_of(config), ())
