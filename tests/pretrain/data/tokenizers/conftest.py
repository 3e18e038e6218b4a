"""Tokenizers of transformers of several kinds, made once for all tests of a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests here share library_tokenizers.py

from library_tokenizers import KINDS, documents, save, trained

from pretrain.data.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    return documents(2_000_000)


@pytest.fixture(scope="module")
def folders(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("kinds")
    return {name: save(trained(corpus, **options), place / name) for name, options in KINDS.items()}


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> dict[str, Tokenizer]:
    return {name: load_tokenizer(folder) for name, folder in folders.items()}
