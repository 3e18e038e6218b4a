"""Named sets: rows of the text that a set has, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pretrain.data.held_out import ValidationData
from pretrain.data.packing import PADDING
from pretrain.errors import UserError
from pretrain.evaluate.options import EvaluateOptions
from pretrain.evaluate.sets import open_sets

END = 256


class Bytes:
    """A tokenizer of a byte a token."""

    end_id = END

    def __init__(self) -> None:
        self.read = 0

    def encode(self, text: str) -> list[int]:
        self.read += 1
        return list(text.encode())


def sets(path: Path, lines: list[str], tokenizer: Bytes | None = None, **how: int) -> dict[str, np.ndarray]:
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    options = EvaluateOptions.model_validate({"sets": {"held": {"kind": "jsonl", "path": str(path)}}})
    return open_sets(options.sets, tokenizer or Bytes(), **{"sequence_length": 4, "sequences": 64} | how)


def test_all_of_a_small_set_is_evaluated_and_every_token_but_the_first_is_a_target(tmp_path: Path) -> None:
    rows = sets(tmp_path / "set.jsonl", ["abc", "de", "f"])["held"]
    assert rows.dtype == np.int32
    a, b, c, d, e, f = b"abcdef"
    assert rows.tolist() == [[a, b, c, END, d], [d, e, END, f, END]]
    rows = sets(tmp_path / "set.jsonl", ["abc", "d"])["held"]
    assert rows.tolist() == [[a, b, c, END, d], [d, END, PADDING, PADDING, PADDING]]


def test_no_more_is_read_than_is_evaluated(tmp_path: Path) -> None:
    tokenizer = Bytes()
    rows = sets(tmp_path / "set.jsonl", ["abc"] * 100, tokenizer, sequences=3)["held"]
    assert rows.shape == (3, 5)
    assert (rows[:, 1:] != PADDING).all()
    assert tokenizer.read == 4


def test_text_that_is_none_is_passed_over_and_a_set_without_any_is_refused(tmp_path: Path) -> None:
    rows = sets(tmp_path / "set.jsonl", ["", " \n", "\ud800", "ab"])["held"]
    assert rows.tolist() == [[*b"ab", END, PADDING, PADDING]]
    with pytest.raises(UserError, match=r"evaluate\.sets\.held: .*no usable text"):
        sets(tmp_path / "set.jsonl", ["", " "])


def test_a_set_that_is_not_there_is_named_by_its_own_key(tmp_path: Path) -> None:
    options = EvaluateOptions.model_validate(
        {"sets": {"held": {"kind": "text", "path": str(tmp_path / "no")}}}
    )
    with pytest.raises(UserError, match=r"evaluate\.sets\.held"):
        open_sets(options.sets, Bytes(), sequence_length=4, sequences=1)


def test_sets_are_given_as_sources_are() -> None:
    with pytest.raises(ValidationError, match="kind"):
        EvaluateOptions.model_validate({"sets": {"held": {"kind": "jsonlines", "path": "x"}}})


def validation(**sets: np.ndarray) -> ValidationData:
    shard = SimpleNamespace(tokens=np.arange(41, dtype=np.uint16))
    source = SimpleNamespace(validation=shard, manifest=SimpleNamespace(validation_share=0.1))
    corpus: Any = SimpleNamespace(sources={"web": source})
    return ValidationData(corpus, 4, sets)


def test_sets_stand_beside_the_sources() -> None:
    rows = np.arange(15, dtype=np.int32).reshape(3, 5)
    data = validation(books=rows)
    assert data.sources == ("web", "books")
    assert np.array_equal(data.rows("books", 2), rows[:2])
    assert data.rows("web", 5)[:, 0].tolist() == [0, 8, 16, 24, 32]


def test_a_set_with_the_name_of_a_source_is_refused() -> None:
    with pytest.raises(UserError, match=r"evaluate\.sets\.web"):
        validation(web=np.zeros((1, 5), np.int32))
