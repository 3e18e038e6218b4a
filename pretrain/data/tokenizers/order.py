"""A tokenizer to be trained by itself: on which text, with which options, into which folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pydantic import ValidationError

from pretrain.config.errors import describe
from pretrain.data.sources.options import AnyText
from pretrain.data.sources.registry import open_source
from pretrain.data.sources.spec import KEY, parse_source
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.data.tokenizers.sampling import collect_sample, spread
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be trained, and on what."""

    options: SentencePieceOptions
    sources: Mapping[str, Any]  # name -> options of a source of text

    @classmethod
    def of(cls, specs: Sequence[str], config: str | None, given: Mapping[str, Any]) -> Order:
        """From a command line: sources that are named, else those of a config."""
        values: dict[str, Any] = {}
        sources: dict[str, Any] = {spec: source_of(spec) for spec in specs}
        if config:
            from pretrain.config.load import load

            data = load(config).data
            if isinstance(data.tokenizer, SentencePieceOptions):
                values = data.tokenizer.model_dump()
            sources = sources or {
                name: source for name, source in data.sources.items() if source.kind != "shards"
            }
        if not sources:
            raise UserError("Name a SOURCE of text, or a config that has one with --config.")
        return cls(options=_options({**values, **given}), sources=sources)


def _options(values: Mapping[str, Any]) -> SentencePieceOptions:
    try:
        return SentencePieceOptions.model_validate(values, strict=False)
    except ValidationError as error:
        flags = (line.replace("_", "-", 1) for line in describe(error, SentencePieceOptions))
        raise UserError("\n".join(f"--{line}" for line in flags)) from error


def source_of(spec: str) -> AnyText:
    """What a word of the command line means."""
    try:
        return parse_source(spec)
    except UserError as error:
        raise UserError(str(error).replace(KEY, "SOURCE", 1)) from error


def fill(order: Order, out: Path, *, say: Callable[[str], None]) -> None:
    """Train and put the tokenizer to `out`, whole or not at all."""
    if out.exists():
        raise UserError(f"--out: '{out}' exists already; a tokenizer is never overwritten.")
    readers = [open_source(name, source) for name, source in order.sources.items()]
    items = chain.from_iterable(reader.documents() for reader in readers)
    found = collect_sample(items, order.options.sample_bytes, lambda _: None)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.skipped.items()))
    say(f"{found.num_seen:,} documents" + (f"; left out: {left_out}" if left_out else ""))
    if not found.texts:
        raise UserError("SOURCE: there is no usable text. Point it at text in UTF-8.")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    aside = Path(mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        say(f"training a tokenizer of {order.options.vocab_size:,} pieces")
        _train(found.texts, order.options, aside)
        aside.chmod(0o755)
        aside.rename(out)
    finally:
        for file in aside.glob("*") if aside.exists() else ():
            file.unlink()
        if aside.exists():
            aside.rmdir()


def _train(texts: list[bytes], options: SentencePieceOptions, folder: Path) -> None:
    try:
        train_tokenizer(spread(texts, options.sample_bytes), options, folder)
    except UserError as error:
        raise UserError(str(error).replace("data.tokenizer.vocab_size", "--vocab-size", 1)) from error
