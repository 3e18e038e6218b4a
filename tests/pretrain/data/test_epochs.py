"""When a source begins again, and the limit on it: against reading sequence by sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.timeline import Segment, Timeline
from pretrain.data.epochs import check_epochs, epoch_changes, overread, repeated, sequences_within
from pretrain.data.options import DataOptions
from pretrain.data.training import TrainingData
from pretrain.errors import UserError

LENGTH = 8


@dataclass(frozen=True)
class Stage:
    num_sequences: int
    mix: dict[str, float]
    sequence_length: int = LENGTH
    name: str = "stable"
    first_tokens: int = 0


def reading(documents: Any, stages: list[Stage], **sequences: int) -> TrainingData:
    sources = {
        name: SimpleNamespace(train=documents([LENGTH] * count + [1])) for name, count in sequences.items()
    }
    corpus: Any = SimpleNamespace(sources=sources)
    return TrainingData(corpus, stages, 0)


mixes = st.dictionaries(st.sampled_from("ab"), st.integers(1, 4), min_size=1)
stages = st.lists(
    st.builds(Stage, st.integers(1, 60), mixes, st.sampled_from([LENGTH, 2 * LENGTH])), min_size=1, max_size=3
)
sizes = st.fixed_dictionaries({name: st.integers(2, 30) for name in "ab"})


@given(stages=stages, sizes=sizes, cuts=st.sets(st.integers(0, 180), max_size=8))
def test_each_epoch_is_noticed_once_where_it_begins(
    documents: Any, stages: list[Stage], sizes: dict[str, int], cuts: set[int]
) -> None:
    training = reading(documents, stages, **sizes)
    bounds = sorted({0, len(training), *(cut for cut in cuts if cut < len(training))})
    for first, last in pairwise(bounds):
        seen = {
            (origin.source, origin.sequence_length, origin.epoch): None
            for origin in _origins(training, first, last)
        }
        before = {
            (origin.source, origin.sequence_length, origin.epoch) for origin in _origins(training, 0, first)
        }
        begun = [key for key in seen if key[2] > 0 and key not in before]
        noticed = [
            (change.source, change.sequence_length, change.epoch)
            for change in epoch_changes(training, first, last)
        ]
        assert sorted(noticed) == sorted(begun)
        assert len(set(noticed)) == len(noticed)


def _origins(training: TrainingData, first: int, last: int) -> list[Any]:
    return [training.origin(i) for i in range(first, last)]


def test_an_epoch_is_announced_in_words(documents: Any) -> None:
    training = reading(documents, [Stage(30, {"a": 1})], a=10)
    assert [change.describe() for change in epoch_changes(training, 5, 30)] == [
        "a has been read 1 time, and begins again",
        "a has been read 2 times, and begins again",
    ]


@given(stages=stages, sizes=sizes, most=st.sampled_from([0.3, 1.0, 1.5, 2.0]))
def test_the_sequences_that_fit_are_the_most_that_do(
    documents: Any, stages: list[Stage], sizes: dict[str, int], most: float
) -> None:
    training = reading(documents, stages, **sizes)
    fits = sequences_within(training, "a", most)
    reads = dict.fromkeys(training.sources, 0)
    for i in range(len(training)):
        within = sum(read / len(training.sources[key]) for key, read in reads.items() if key[1] == "a")
        assert (within <= most + 1e-9) == (i <= fits)
        origin = training.origin(i)
        reads[origin.sequence_length, origin.source] += 1


def derived(stage: Stage, batch: int) -> Any:
    steps = stage.num_sequences // batch
    segment = Segment(
        first_step=0, first_tokens=0, first_sequence=0, steps=steps, sequences=batch, sequence_length=LENGTH
    )
    timeline = Timeline(segments=(segment,))
    return SimpleNamespace(timeline=timeline, tokens=timeline.end.tokens, stage_at=lambda step: stage)


def test_a_run_that_would_read_too_much_is_refused_with_the_tokens_that_fit(documents: Any) -> None:
    """Of a's 10 sequences, half of each batch of 4: five whole batches read it once."""
    stage = Stage(40, {"a": 1, "b": 1})
    training = reading(documents, [stage], a=10, b=1000)
    with pytest.raises(
        UserError, match=r"data\.max_epochs\.a: .* 2 times, and at most 1 is allowed\. .* 160 tokens .* 320,"
    ):
        check_epochs(training, {"a": 1.0, "b": 1.0}, derived(stage, 4))
    shorter = Stage(160 // LENGTH, stage.mix)
    check_epochs(reading(documents, [shorter], a=10, b=1000), {"a": 1.0, "b": 1.0}, derived(shorter, 4))
    longer = Stage(160 // LENGTH + 4, stage.mix)
    with pytest.raises(UserError, match="160 tokens"):
        check_epochs(reading(documents, [longer], a=10, b=1000), {"a": 1.0}, derived(longer, 4))


def test_a_source_without_a_limit_is_read_as_often_as_need_be(documents: Any) -> None:
    stage = Stage(40, {"a": 1, "b": 1})
    training = reading(documents, [stage], a=3, b=1000)
    check_epochs(training, {}, derived(stage, 4))
    check_epochs(training, {"a": 6.67, "elsewhere": 1.0}, derived(stage, 4))
    assert list(overread(training, {"b": 0.01}, derived(stage, 4)))


def test_many_repeats_are_pointed_out_unless_a_limit_was_thought_about(documents: Any) -> None:
    training = reading(documents, [Stage(100, {"a": 1, "b": 1})], a=10, b=20)
    (found,) = repeated(training, {})
    assert found.startswith("data.sources.a: its 80 tokens are read 5 times")
    assert not list(repeated(training, {"a": 9.0}))


def test_a_limit_on_no_source_is_refused_with_the_nearest_name(
    corpus_options: Callable[..., DataOptions],
) -> None:
    assert corpus_options(max_epochs={"some": 2}).max_epochs == {"some": 2.0}
    with pytest.raises(ValueError, match=r"max_epochs\.sone: no such source; .* Did you mean 'some'\?"):
        corpus_options(max_epochs={"sone": 2})
