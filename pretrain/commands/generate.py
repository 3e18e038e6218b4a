"""`pretrain generate`: text by a model, after prompts."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretrain.commands.common import AsJson, print_json
from pretrain.commands.models import DeviceOption, ModelSource, PrecisionOption, TokenizerOption

if TYPE_CHECKING:
    from pretrain.evaluate.generate import Written
    from pretrain.evaluate.opened import Opened
    from pretrain.evaluate.sampling import Sampling

Prompts = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        "-p",
        metavar="TEXT",
        help="What the text begins with; given again, one text each.",
        show_default=False,
    ),
]
Stdin = Annotated[
    bool,
    typer.Option("--stdin", help="Read prompts from standard input, one a line; empty lines are none."),
]
Stream = Annotated[bool, typer.Option("--stream", help="Show the text of one prompt as it comes.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", metavar="N", help="Longest text, in tokens.")]
Temperature = Annotated[
    float, typer.Option("--temperature", metavar="T", help="0: always the likeliest token; 1: as it is.")
]
TopP = Annotated[
    float,
    typer.Option("--top-p", metavar="P", help="Draw from the likeliest tokens that have this probability."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Prompt number i draws with seed N + i.")]


def generate(
    source: ModelSource,
    prompt: Prompts = None,
    stdin: Stdin = False,
    stream: Stream = False,
    max_tokens: MaxTokens = 128,
    temperature: Temperature = 0.8,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    precision: PrecisionOption = None,
    tokenizer: TokenizerOption = None,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Show each prompt and the text that a model writes after it; several are parted by lines of `---`.

    A text ends where the model ends its document, or after so many tokens. What is not the texts goes to
    standard error.
    """
    from pretrain.evaluate.prompts import check, given, lines

    sampling = _sampling(max_tokens, temperature, top_p, seed)
    prompts = list(chain(given(prompt or []), lines(sys.stdin.buffer) if stdin and sys.stdin else ()))
    check(prompts, stdin=stdin, stream=stream, as_json=as_json)
    from pretrain.evaluate.opened import device_named, open_model

    opened = open_model(
        source,
        precision=precision.value if precision else None,
        device=device_named(device),
        tokenizer=tokenizer,
        say=lambda text: typer.echo(text, err=True),
    )
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character
    settings: dict[str, Any] = {"max_tokens": max_tokens, "sampling": sampling, "seed": seed}
    try:
        if stream:
            _stream(opened, prompts[0], settings)
        else:
            _show(opened, prompts, settings, as_json=as_json)
    except FloatingPointError as error:
        from pretrain.errors import UserError

        raise UserError(f"{opened.source}: {error}; this model has diverged.") from None


def _sampling(max_tokens: int, temperature: float, top_p: float, seed: int) -> Sampling:
    from pretrain.errors import UserError
    from pretrain.evaluate.sampling import Sampling

    if max_tokens < 1:
        raise UserError(f"--max-tokens: {max_tokens} should be at least 1.")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed: {seed} should be at least 0 and less than 2**63.")
    try:
        return Sampling(temperature=temperature, top_p=top_p)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('top_p', 'top-p').replace('=', ': ', 1)}.") from None


def _stream(opened: Opened, prompt: str, settings: dict[str, Any]) -> None:
    from pretrain.evaluate.generate import stream

    try:
        for piece in chain([prompt], stream(opened.model, opened.tokenizer, prompt, **settings)):
            typer.echo(piece, nl=False)  # and flushes
    except KeyboardInterrupt:
        typer.echo()
        raise typer.Exit(130) from None
    typer.echo()


def _show(opened: Opened, prompts: list[str], settings: dict[str, Any], *, as_json: bool) -> None:
    from pretrain.evaluate.generate import write

    pairs = zip(prompts, write(opened.model, opened.tokenizer, prompts, **settings), strict=True)
    if as_json:
        print_json(_facts(opened, settings) | {"texts": [_text(*pair) for pair in pairs]})
        return
    for number, (prompt, written) in enumerate(pairs):
        typer.echo("---\n" * (number > 0) + prompt + written.text)


def _text(prompt: str, written: Written) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "text": written.text,
        "num_tokens": written.num_tokens,
        "ended": written.ended,
    }


def _facts(opened: Opened, settings: dict[str, Any]) -> dict[str, Any]:
    sampling: Sampling = settings["sampling"]
    return {
        "source": str(opened.source),
        "name": opened.name,
        "step": opened.step,
        "tokens": opened.tokens,
        "settings": {
            "max_tokens": settings["max_tokens"],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": settings["seed"],
            "precision": opened.precision,
            "device": opened.model.embedding.device.type,
        },
    }
