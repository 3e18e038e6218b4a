"""Small corpora, so that no test reads the whole machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pretrain.data.options import DataOptions, TokenizerOptions
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.tokenizer_training import train_tokenizer


def _sentence(number: int) -> str:
    """A line of words that no other number gives."""
    rng = random.Random(number)
    words = ("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(8))
    return " ".join(words) + f" {number}\n"


def _paragraph(number: int) -> str:
    """A document of five such lines, with an indent and a character beyond ASCII."""
    return "".join(_sentence(10 * number + line) for line in range(5)) + f"\tif é:\n        return {number}\n"


@pytest.fixture(scope="session")
def paragraph() -> Callable[[int], str]:
    """Documents by number, no two alike."""
    return _paragraph


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(map(_paragraph, range(300)), TokenizerOptions(vocab_size=700), folder)
    return load_tokenizer(folder)


@pytest.fixture
def corpus_options(tmp_path: Path) -> Callable[..., DataOptions]:
    """Options of a corpus of `documents` paragraphs in a JSON-lines file."""

    def options(documents: int = 400, **changes: object) -> DataOptions:
        file = tmp_path / f"{documents}.jsonl"
        if not file.exists():  # its time of change is part of what it is
            file.write_text("".join(json.dumps({"text": _paragraph(n)}) + "\n" for n in range(documents)))
        values = {
            "root": str(tmp_path / "data"),
            "sources": {"some": {"kind": "jsonl", "path": str(file)}},
            "tokenizer": {"vocab_size": 600},
            "validation_share": 0.1,
        }
        return DataOptions.model_validate(values | changes)

    return options


class Documents:
    """A shard of documents of these lengths, in which every token says where it stands."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._starts = np.cumsum([0, *lengths])
        self.tokens = np.arange(self._starts[-1], dtype=np.int32)
        self.num_documents = len(lengths)

    def starts(self, first: int, last: int) -> np.ndarray:
        return self._starts[first : last + 1]


@pytest.fixture(scope="session")
def documents() -> type[Documents]:
    """Shards by the lengths of their documents."""
    return Documents
