"""What ranks consume together is the sequences of the run by number, however the work is cut."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_lite.schedules.timeline import Point, Segment, Timeline
from pretrain.checkpoint.position import Position
from pretrain.data.training import TrainingData
from pretrain.loop.run import Run
from pretrain.ranks import Ranks

RANKS = (1, 2, 4, 7)
UNIT = 2 * 4 * 7  # sequences that any of these numbers of ranks can share in micro-batches of 1 or 2


@dataclass(frozen=True)
class Stage:
    """A stage of batches that grow: updates and their sequences, in units."""

    mix: dict[str, float]
    sequence_length: int
    batches: tuple[tuple[int, int], ...]

    @property
    def num_sequences(self) -> int:
        return sum(UNIT * steps * units for steps, units in self.batches)


batches = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=2).map(tuple)
mixes = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), min_size=1)
stages = st.lists(st.builds(Stage, mixes, st.sampled_from([4, 8]), batches), min_size=1, max_size=3)


def corpus(documents: Any) -> Any:
    """Three sources, of sizes that are read several times or not at all to the end; all tokens differ."""
    sources = {}
    for number, (name, size) in enumerate({"a": 90, "b": 700, "c": 5000}.items()):
        shard = documents([size % 7 + 1] * (size // (size % 7 + 1)))
        shard.tokens = shard.tokens + 10_000 * number
        sources[name] = SimpleNamespace(train=shard)
    return SimpleNamespace(sources=sources)


def timeline(planned: list[Stage]) -> Timeline:
    segments: list[Segment] = []
    here = Point()
    for stage in planned:
        for steps, units in stage.batches:
            segments.append(
                Segment(
                    first_step=here.step,
                    first_tokens=here.tokens,
                    first_sequence=here.sequence,
                    steps=steps,
                    sequences=UNIT * units,
                    sequence_length=stage.sequence_length,
                )
            )
            here = segments[-1].end
    return Timeline(segments=tuple(segments))


def consumed(training: TrainingData, updates: Timeline, micro: int, ranks: int, step: int) -> list[Any]:
    """The rows that all ranks read for an update, as micro-step after micro-step sees them."""
    update = updates.update(step)
    by_rank = []
    for rank in range(ranks):
        run: Any = SimpleNamespace(
            derived=SimpleNamespace(stage_at=lambda _: SimpleNamespace(micro_sequences=micro)),
            ranks=Ranks(rank=rank, size=ranks, local_rank=rank, local_size=ranks, address="", port=0),
            position=Position(step=step, tokens=update.tokens, sequence=update.sequence),
            next=update,
            training=training,
            _batch=lambda rows: rows.tolist(),
        )
        by_rank.append(Run.micro_batches(run))
    return [row for parts in zip(*by_rank, strict=True) for rows in parts for row in rows]


@settings(max_examples=30)
@given(
    planned=stages,
    seed=st.integers(0, 5),
    micro=st.sampled_from([1, 2]),
    packing=st.sampled_from(["joined", "best_fit"]),
    data=st.data(),
)
def test_any_ranks_micro_batches_batches_and_resumes_consume_the_sequences_in_order(
    documents: Any, planned: list[Stage], seed: int, micro: int, packing: Any, data: st.DataObject
) -> None:
    """Every update on a number of ranks of its own, by a process that is new now and then."""
    updates = timeline(planned)
    whole = TrainingData(corpus(documents), planned, seed, packing=packing)
    training = whole
    found, expected = [], []
    for step in range(updates.end.step):
        if data.draw(st.booleans()):
            training = TrainingData(corpus(documents), planned, seed, packing=packing)
        found += consumed(training, updates, micro, data.draw(st.sampled_from(RANKS)), step)
        update = updates.update(step)
        expected += [
            whole.sequence(i).tolist() for i in range(update.sequence, update.sequence + update.sequences)
        ]
    assert found == expected
    assert len(found) == updates.end.sequence == len(whole)


@given(planned=stages, seed=st.integers(0, 5), packing=st.sampled_from(["joined", "best_fit"]))
def test_an_epoch_reads_every_sequence_once_whatever_the_packing(
    documents: Any, planned: list[Stage], seed: int, packing: Any
) -> None:
    training = TrainingData(corpus(documents), planned, seed, packing=packing)
    read: dict[tuple[int, str, int], list[int]] = {}
    for i in range(len(training)):
        origin = training.origin(i)
        read.setdefault((origin.sequence_length, origin.source, origin.epoch), []).append(origin.index)
    for (length, source, epoch), indices in read.items():
        size = len(training.sources[length, source])
        assert len(set(indices)) == len(indices) <= size
        if (length, source, epoch + 1) in read:
            assert sorted(indices) == list(range(size))


@given(planned=stages, i=st.integers(0, 400))
def test_what_was_read_before_a_sequence_is_counted(documents: Any, planned: list[Stage], i: int) -> None:
    training = TrainingData(corpus(documents), planned, 0)
    i = min(i, len(training))
    origins = [training.origin(k) for k in range(i)]
    before = training.read_before(i)
    for key in training.sources:
        assert before.get(key, 0) == sum((o.sequence_length, o.source) == key for o in origins)


def test_sequences_of_fitted_documents_never_change(documents: Any) -> None:
    """Golden: another packing would make every checkpoint go on with other data."""
    stage = Stage({"a": 2, "b": 1, "c": 1}, 8, ((9, 1),))
    rows = TrainingData(corpus(documents), [stage], 3, packing="best_fit").rows(0, 500)
    assert sha256(rows.astype("<i8").tobytes()).hexdigest()[:16] == "af08220e7ac5d69b"
