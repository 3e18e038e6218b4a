"""The tokenizer of a run in a folder of its own: trained on a sample of text, or copied from where it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pretrain.data.tokenizer import MODEL_FILE, load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions, TokenizerChoice, TrainedOptions
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.data.tokenizers.definition import CONFIG_FILE, SPECIAL_FILE, TOKENIZER_FILE, read_definition
from pretrain.data.tokenizers.trial import check_lossless
from pretrain.errors import UserError

FILES = (
    TOKENIZER_FILE,
    CONFIG_FILE,
    SPECIAL_FILE,
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
)
KEY = "data.tokenizer.path"


def make_tokenizer(options: TokenizerChoice, texts: Callable[[], Iterator[str]], folder: Path) -> None:
    """Write the files of the tokenizer to `folder`; `texts` is asked only by a kind that is trained."""
    if isinstance(options, SentencePieceOptions):
        train_tokenizer(texts(), options, folder)
        return
    if isinstance(options, TrainedOptions):
        tokenizer_identity(options)
        shutil.copyfile(options.folder / MODEL_FILE, folder / MODEL_FILE)
        return
    tokenizer_identity(options)  # refuses files that are not there, under the key of the config
    check_lossless(load_tokenizer(options.folder), f"{KEY}: {options.path}")
    copy_files(options.folder, folder)


def tokenizer_identity(options: TokenizerChoice) -> Any:
    """What the tokenizer depends on beside text (as JSON). Keys that came later count where they are set."""
    if isinstance(options, SentencePieceOptions):
        values = options.model_dump(exclude={"kind"})
        return {name: value for name, value in values.items() if (name, value) != ("model", "bpe")}
    try:
        if isinstance(options, TrainedOptions):
            return {"kind": options.kind, "sha256": load_tokenizer(options.folder).sha256}
        return {"kind": options.kind, "sha256": read_definition(options.folder).sha256}
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from error


def copy_files(source: Path, target: Path) -> None:
    """The files of a transformers tokenizer, as they are."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
