"""`pretrain lr`: the learning rate of a run at any number of tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain.commands.common import AsJson, ConfigName, Overrides, print_json, print_table

At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="TOKENS", help="Tokens trained so far, such as 100B; may be given again."),
]


def lr(config: ConfigName, overrides: Overrides = None, at: At = None, as_json: AsJson = False) -> None:
    """Show the learning rate at given token counts, or at 20 points of the run.

    It is the rate of the update that is made when so many tokens have been trained, for the group with
    ratio 1; `pretrain plan` shows the ratios of the groups.
    """
    from pretrain.config.derive import derive
    from pretrain.config.load import load
    from pretrain.plan import lr_points

    counts = [_count(text) for text in at or []]
    derived = derive(load(config, overrides or []))
    points = tuple((tokens, derived.lr(tokens)) for tokens in counts) or lr_points(derived)
    if as_json:
        batch = derived.batch
        print_json([{"tokens": n, "batch_tokens": batch.tokens_at(n), "lr": value} for n, value in points])
    else:
        from pretrain.plan_view import lr_table

        print_table(lr_table(points))


def _count(text: str) -> int:
    from megatron_lite.options import parse_count
    from pretrain.errors import UserError

    try:
        return parse_count(text)
    except ValueError as error:
        raise UserError(f"--at: {text!r} {error}") from error
