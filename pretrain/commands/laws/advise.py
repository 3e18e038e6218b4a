"""`pretrain laws advise`: what the published laws say of a run, side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table

Params = Annotated[str, typer.Option(metavar="COUNT", help="Parameters without embeddings: 3e9, 3B.")]
Tokens = Annotated[str, typer.Option(metavar="COUNT", help="Tokens of the run: 1e12, 1T.")]
Batch = Annotated[str | None, typer.Option(metavar="COUNT", help="Tokens of one update: 4M.")]
WidthRatio = Annotated[
    float | None, typer.Option(help="hidden_size / base_width, to compare µP rates with others.")
]
Loss = Annotated[float | None, typer.Option(help="Loss that the run will reach, for laws that ask for it.")]
Layers = Annotated[int | None, typer.Option(help="Layers, for DeepSeek's count of compute.")]
Hidden = Annotated[int | None, typer.Option(help="Width, for DeepSeek's count of compute.")]
Sequence = Annotated[int, typer.Option(help="Sequence length, for DeepSeek's count of compute.")]
TunedLr = Annotated[float | None, typer.Option(help="A rate tuned at other tokens, for the horizon rule.")]
TunedTokens = Annotated[str | None, typer.Option(metavar="COUNT", help="The tokens that it was tuned at.")]


def advise(
    params: Params,
    tokens: Tokens,
    batch: Batch = None,
    width_ratio: WidthRatio = None,
    loss: Loss = None,
    layers: Layers = None,
    hidden_size: Hidden = None,
    sequence_length: Sequence = 4096,
    tuned_lr: TunedLr = None,
    tuned_tokens: TunedTokens = None,
    as_json: AsJson = False,
) -> None:
    """Ask every published law for a learning rate, a batch and a weight decay.

    All in tokens. A µP law's rate is that of the group with ratio 1, another
    law's that of every parameter; with --width-ratio both are also given for
    hidden matrices, where they compare.
    """
    from pretrain.laws import advice_view
    from pretrain.laws.advise import advise as ask
    from pretrain.laws.advisers import Question
    from pretrain.laws.counts import count, count_or_none

    found = ask(
        Question(
            N=count("--params", params),
            D=count("--tokens", tokens),
            batch_tokens=count_or_none("--batch", batch),
            width_ratio=width_ratio,
            loss=loss,
            layers=layers,
            hidden=hidden_size,
            sequence=sequence_length,
            known_lr=tuned_lr,
            known_tokens=count_or_none("--tuned-tokens", tuned_tokens),
        )
    )
    if as_json:
        print_json(advice_view.to_json(found))
        return
    print_table(advice_view.table(found))
    for line in advice_view.words(found):
        typer.echo(line)
