"""What a config's run would read, as far as can be known before it starts: its corpus has to be built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pretrain.data.epochs import overread, repeated
from pretrain.data.options import DataOptions
from pretrain.data.prepare import open_corpus
from pretrain.data.training import TrainingData
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.config.derive import Derived


def planned_training(data: DataOptions, derived: Derived, seed: int) -> TrainingData | None:
    """The sequences of the run; None where its corpus is not built, or is too little for any."""
    try:
        corpus = open_corpus(data)
        first = derived.past.here.sequence
        return TrainingData(corpus, derived.stages, seed, first=first, packing=data.packing)
    except UserError:  # said by the run itself, which can build it
        return None


def data_advice(training: TrainingData, data: DataOptions, derived: Derived) -> Iterator[str]:
    """Sources that are read more often than they may or should be: a sentence each."""
    yield from overread(training, data.max_epochs, derived)
    yield from repeated(training, data.max_epochs)


def packing_report(training: TrainingData) -> Iterator[str]:
    """How much of each source is padding, and how many of its documents are cut: a line each."""
    for (length, name), sequences in training.sources.items():
        yield f"{name}: {len(sequences):,} sequences of {length} tokens; {sequences.waste().describe()}"
