"""`pretrain tokenizer`: train one on text, and see what one does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, print_json, print_table
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.data.tokenizers.inspection import Inspection

app = typer.Typer(no_args_is_help=True, help="Train a tokenizer, or see what one does.")

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="A file, folder or glob (text, .jsonl, .jsonl.gz, .jsonl.zst, .parquet); `python` for the"
        " source code on this machine; `hub:NAME[:SUBSET]:SPLIT:COLUMN`; or `kind=jsonl,path=FILES,"
        "column=NAME`.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="To be made; never overwritten.")]
VocabSize = Annotated[
    str | None,
    typer.Option("--vocab-size", metavar="N", help="Pieces in all.  [default: 8192]"),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="bpe|unigram", help="How text is cut.  [default: bpe]")
]
SampleBytes = Annotated[
    str | None, typer.Option("--sample-bytes", metavar="BYTES", help="Text to train on.  [default: 8M]")
]
ConfigName = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="NAME_OR_PATH", help="Take sources and options of this config."),
]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Of tokenizer.model or tokenizer.json.", show_default=False)
]
Text = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="Show its pieces.  [default: a sample]"),
]


@app.command()
def train(
    out: Out,
    sources: Sources = None,
    vocab_size: VocabSize = None,
    model: Model = None,
    sample_bytes: SampleBytes = None,
    config: ConfigName = None,
    as_json: AsJson = False,
) -> None:
    """Train a sentencepiece tokenizer that gives every text back.

    The same text gives the same file. A run trains its own when it prepares its data.
    """
    from pretrain.data.tokenizer import load_tokenizer
    from pretrain.data.tokenizers.inspection import look
    from pretrain.data.tokenizers.order import Order, fill

    given = {"vocab_size": vocab_size, "model": model, "sample_bytes": sample_bytes}
    order = Order.of(sources or [], config, {key: value for key, value in given.items() if value})
    fill(order, out, say=lambda text: typer.echo(text, err=True))
    _show(look(out, load_tokenizer(out), None), as_json)


@app.command()
def inspect(folder: Folder, text: Text = None, as_json: AsJson = False) -> None:
    """Show kind, vocabulary, end token and hash, whether every text comes back, and bytes per token."""
    from pretrain.data.tokenizer import load_tokenizer
    from pretrain.data.tokenizers.inspection import look

    try:
        found = look(folder, load_tokenizer(folder.expanduser()), text)
    except UnicodeEncodeError:
        raise UserError("--text: it is not valid UTF-8.") from None
    _show(found, as_json)


def _show(found: Inspection, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        from pretrain.data.tokenizers.view import tables

        for table in tables(found):
            print_table(table)
