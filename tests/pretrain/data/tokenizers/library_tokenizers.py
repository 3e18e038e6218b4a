"""Tokenizers of transformers of five kinds, trained on the Python source of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, trainers
from tokenizers import Tokenizer as Library
from tokenizers import pre_tokenizers as pre

from pretrain.data.sources.base import Document
from pretrain.data.sources.options import PythonSource
from pretrain.data.sources.python import PythonReader

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END = "<|endoftext|>"
RUNS = [AddedToken(" " * length, normalized=True) for length in (2, 4, 8)]
WORDS = pre.ByteLevel(add_prefix_space=False)
BYTES = pre.ByteLevel(add_prefix_space=False, use_regex=False)
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"cut": WORDS},
    "llama3": {"cut": pre.Sequence([pre.Split(Regex(LLAMA_3), "isolated"), BYTES]), "whole": True},
    "starcoder": {"cut": pre.Sequence([pre.Digits(individual_digits=True), WORDS])},
    "neox": {"cut": WORDS, "added": RUNS},
    "deepseek": {
        "cut": pre.Sequence(
            [pre.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre.Split(Regex(LLAMA_3), "isolated"), BYTES]
        )
    },
}
NFC = {"cut": KINDS["llama3"]["cut"], "normalizer": normalizers.NFC()}


def documents(max_bytes: int) -> list[str]:
    items = PythonReader(PythonSource(max_bytes=max_bytes)).documents()
    return [item.text for item in items if isinstance(item, Document)]


def save(library: Library, folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, **config}))
    return folder


def trained(
    corpus: list[str], cut: Any, whole: bool = False, added: Any = (), normalizer: Any = None
) -> Library:
    library = Library(models.BPE(ignore_merges=whole))
    library.pre_tokenizer, library.decoder = cut, decoders.ByteLevel()
    if normalizer:
        library.normalizer = normalizer
    alphabet = pre.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=[END, "<|pad|>"], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(corpus[:20], trainer)
    library.add_tokens(list(added))
    return library


@cache
def theirs(folder: Path) -> Callable[[str], list[int]]:
    """The library by itself, told as transformers tells it that control tokens are text."""
    library = Library.from_file(str(folder / "tokenizer.json"))
    library.encode_special_tokens = True
    return lambda text: library.encode(text, add_special_tokens=False).ids
