"""`pretrain plan`: what a run will be, before anything is paid for."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

Ranks = Annotated[
    int, typer.Option("--ranks", min=1, metavar="N", help="Ranks (GPUs) that the run is spread over.")
]


def plan(config: ConfigName, overrides: Overrides = None, ranks: Ranks = 1, as_json: AsJson = False) -> None:
    """Show parameters, steps, FLOPs, learning rate, optimizer groups and memory of a run.

    Nothing is allocated. Memory is that of one rank, for the config's precision, engine and ZeRO stage;
    activations are an estimate.
    """
    from pretrain.config.load import load
    from pretrain.plan import plan as make_plan

    made = make_plan(load(config, overrides or []), num_ranks=ranks)
    if as_json:
        print_json(made.to_json())
    else:
        from pretrain.plan_view import plan_tables

        print_table(plan_tables(made))
