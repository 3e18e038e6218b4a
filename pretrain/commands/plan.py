"""`pretrain plan`: what a run will be, before anything is paid for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

if TYPE_CHECKING:
    from pretrain.config.schema import Config

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

    loaded = load(config, overrides or [])
    made = make_plan(loaded, num_ranks=ranks)
    made = replace(made, warnings=(*made.warnings, *_of_data(loaded)))
    if as_json:
        print_json(made.to_json())
    else:
        from pretrain.plan_view import plan_tables

        print_table(plan_tables(made))


def _of_data(config: Config) -> tuple[str, ...]:
    """What is worth a second look in how often each source is read, where the corpus is built."""
    from pretrain.config.past import derived_of
    from pretrain.data.outlook import data_advice, planned_training

    derived = derived_of(config)
    training = planned_training(config.data, derived, config.run.seed)
    return tuple(data_advice(training, config.data, derived)) if training else ()
