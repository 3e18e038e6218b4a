"""Verification of a pair of another program: its structure and its tokens are read whole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pretrain.data.progress import SilentProgress
from pretrain.data.shards import ShardWriter
from pretrain.data.verify import verify_pair

END = 2
TOKENIZER: Any = SimpleNamespace(sha256="f" * 64, vocab_size=100, end_id=END)


def write_pair(prefix: Path, documents: list[list[int]]) -> None:
    writer = ShardWriter(prefix, 100)
    writer.append(np.concatenate(documents), np.array(list(map(len, documents))))
    writer.close()


@pytest.mark.parametrize("block", [1, 2, 3])
def test_problems_are_the_same_however_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    documents = [[5, END], [7, 200], [END, 4], [300, END], [END]] * 3
    write_pair(tmp_path / "pair", documents)
    whole = verify_pair(tmp_path / "pair", TOKENIZER, SilentProgress())
    assert len(whole.problems) == 2
    monkeypatch.setattr("pretrain.data.verify_pair.BLOCK", block)
    monkeypatch.setattr("pretrain.data.verify_pair.BLOCK_BYTES", 2 * block)
    assert verify_pair(tmp_path / "pair", TOKENIZER, SilentProgress()) == whole


@pytest.mark.parametrize(
    ("offset", "dtype", "place", "value", "words"),
    [
        (34, "<i4", 1, 3, "sequence 2 does not begin where the one before it ends"),
        (34, "<i4", 0, -1, "sequence 0 does not begin"),
        (34 + 4 * 3, "<i8", 1, 4, "sequence 1 does not begin"),
        (34 + 12 * 3, "<i8", 1, 3, "document 1 ends before it begins"),
    ],
)
def test_the_index_of_a_pair_is_read_whole(
    tmp_path: Path, offset: int, dtype: str, place: int, value: int, words: str
) -> None:
    write_pair(tmp_path / "pair", [[5, 6, END], [7, END], [99, 98, END]])
    index = bytearray((tmp_path / "pair.idx").read_bytes())
    np.frombuffer(index, dtype, offset=offset, count=3)[place] = value
    (tmp_path / "pair.idx").write_bytes(index)
    found = verify_pair(tmp_path / "pair", TOKENIZER, SilentProgress())
    assert any(words in problem for problem in found.problems)
