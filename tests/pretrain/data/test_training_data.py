from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.options import DataOptions
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress
from pretrain.data.training import TrainingData, ValidationData
from pretrain.errors import UserError

LENGTH = 8


@dataclass(frozen=True)
class Stage:
    num_sequences: int
    mix: dict[str, float]
    sequence_length: int = LENGTH


def corpus(**sequences: int) -> Any:
    """Sources with so many sequences of LENGTH, in which every token says where it stands."""
    return SimpleNamespace(
        sources={
            name: SimpleNamespace(
                train=SimpleNamespace(tokens=np.arange(num * LENGTH + 1, dtype=np.int32)),
                validation=SimpleNamespace(tokens=np.arange(num * LENGTH + 3, dtype=np.int32)),
                manifest=SimpleNamespace(validation_share=0.1, describe=lambda: "few documents"),
            )
            for name, num in sequences.items()
        }
    )


def data(stages: list[tuple[int, dict[str, float]]], seed: int = 0, **sequences: int) -> TrainingData:
    """Stages given as (sequences, mix)."""
    planned = [Stage(num, mix) for num, mix in stages]
    return TrainingData(corpus(**sequences), planned, seed)


mixes = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), min_size=1)
stages = st.lists(st.tuples(st.integers(1, 60), mixes), min_size=1, max_size=4)
sizes = st.fixed_dictionaries({name: st.integers(1, 30) for name in "abc"})


@given(stages=stages, sizes=sizes)
def test_every_epoch_reads_every_sequence_once_across_stages(stages: list, sizes: dict[str, int]) -> None:
    training = data(stages, **sizes)
    origins = [training.origin(i) for i in range(len(training))]
    for name, num in sizes.items():
        read = [(origin.epoch, origin.index) for origin in origins if origin.source == name]
        assert [epoch for epoch, _ in read] == [position // num for position in range(len(read))]
        assert len(set(read)) == len(read)
        assert all(0 <= index < num for _, index in read)


@given(stages=stages, sizes=sizes)
def test_every_stage_keeps_its_mix_and_epochs_are_what_is_read(stages: list, sizes: dict[str, int]) -> None:
    training = data(stages, **sizes)
    first, read = 0, Counter()
    for num, mix in stages:
        counts = Counter(training.origin(i).source for i in range(first, first + num))
        for name, weight in mix.items():
            assert abs(counts[name] - num * weight / sum(mix.values())) < 1
        assert set(counts) <= set(mix)
        first, read = first + num, read + counts
    assert training.epochs() == {
        name: read[name] / sizes[name] for name in {n for _, mix in stages for n in mix}
    }


@given(cuts=st.lists(st.integers(1, 25), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_rows_do_not_depend_on_how_a_run_is_cut(cuts: list[int], seed: int) -> None:
    """Any sizes of micro-batches, on any rank, after any resume: sequence i is sequence i."""
    planned = [(40, {"a": 2, "b": 1}), (60, {"b": 1})]
    whole = data(planned, seed=seed, a=11, b=7).rows(0, 100)
    first = 0
    for count in cuts:
        some = data(planned, seed=seed, a=11, b=7).rows(first, min(count, 100 - first))
        assert np.array_equal(some, whole[first : first + count])
        first = min(first + count, 100)


def test_a_longer_last_stage_changes_nothing_before_its_end() -> None:
    short, long = (data([(16, {"a": 1}), (num, {"a": 1, "b": 1})], a=9, b=9) for num in (16, 64))
    assert np.array_equal(short.rows(0, 32), long.rows(0, 32))
    assert np.array_equal(short.rows(32, 20), long.rows(32, 20))  # the last stage is open-ended


def test_rows_are_windows_of_the_shard() -> None:
    training = data([(20, {"a": 1})], a=20)
    rows = training.rows(0, 20)
    assert rows.dtype == np.int32
    assert rows.shape == (20, LENGTH + 1)
    assert sorted(rows[:, 0].tolist()) == list(range(0, 20 * LENGTH, LENGTH))
    assert (np.diff(rows, axis=1) == 1).all()
    assert np.array_equal(training.sequence(3), rows[3])


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    training = data([(200, {"a": 1})], a=100)
    first, second = ([training.origin(i).index for i in range(start, start + 100)] for start in (0, 100))
    other = [data([(200, {"a": 1})], seed=1, a=100).origin(i).index for i in range(100)]
    assert first != second
    assert first != other
    assert sorted(first) == sorted(second) == sorted(other)


def test_the_first_thousand_sequences_never_change() -> None:
    """Golden: a run that is resumed under another version must go on with the same data."""
    training = data([(600, {"a": 0.7, "b": 0.3}), (400, {"b": 1, "c": 2})], seed=5, a=317, b=64, c=1000)
    assert sha256(training.rows(0, 1000).astype("<i8").tobytes()).hexdigest()[:16] == "9187a63fe8e4c12a"


def test_another_length_cuts_the_text_anew_and_the_first_goes_on_where_it_was() -> None:
    stages = [Stage(5, {"a": 1}), Stage(3, {"a": 1}, 2 * LENGTH), Stage(4, {"a": 1})]
    training = TrainingData(corpus(a=12), stages, 0)
    assert training.rows(5, 3).shape == (3, 2 * LENGTH + 1)
    short = [training.origin(i).index for i in (*range(5), *range(8, 12))]
    assert short == [data([(9, {"a": 1})], a=12).origin(i).index for i in range(9)]
    assert len({training.origin(i).index for i in range(5, 8)}) == 3
    assert training.epochs() == {"a": 9 / 12 + 3 / 6}


def test_stages_that_lie_behind_are_counted_and_need_no_text() -> None:
    whole = data([(7, {"a": 1, "old": 1}), (9, {"a": 2, "new": 1})], a=9, old=9, new=9)
    stages = [Stage(7, {"a": 1, "old": 1}), Stage(9, {"a": 2, "new": 1})]
    branch = TrainingData(corpus(a=9, new=9), stages, 0, first=7)
    assert np.array_equal(branch.rows(7, 9), whole.rows(7, 9))
    assert set(branch.epochs()) == {"a", "new"}
    with pytest.raises(KeyError):
        TrainingData(corpus(a=9, new=9), stages, 0, first=6)


def test_a_source_that_is_too_small_is_named() -> None:
    with pytest.raises(
        UserError, match=r"data\.sources\.b: too little text for one train sequence .* few documents"
    ):
        data([(8, {"a": 1, "b": 1})], a=3, b=0)


def test_validation_rows_are_spread_over_all_that_is_held_out_and_fixed() -> None:
    validation = ValidationData(corpus(a=100), LENGTH)
    assert validation.sources == ("a",)
    rows = validation.rows("a", 10)
    assert rows[:, 0].tolist() == [10 * LENGTH * row for row in range(10)]
    assert np.array_equal(ValidationData(corpus(a=100), LENGTH).rows("a", 10), rows)
    assert len(validation.rows("a", 1000)) == 100


def test_training_and_validation_share_no_document(corpus_options: Callable[..., DataOptions]) -> None:
    built = prepare(corpus_options(), say=lambda _: None, progress=SilentProgress())
    training = TrainingData(built, [Stage(64, {"some": 1})], 0)
    assert training.rows(0, 64).max() < built.tokenizer.vocab_size
    source = built.sources["some"]
    sides = [
        {shard.document(number).tobytes() for number in range(shard.num_documents)}
        for shard in (source.train, source.validation)
    ]
    assert not sides[0] & sides[1]
