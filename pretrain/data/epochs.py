"""How often a run reads each source: where an epoch begins, and what goes beyond `data.max_epochs`.

All of it follows from the config and the number of sequences, so that a run that may not repeat a source is
refused before it trains, and never ends where its data happens to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from megatron_lite.options import format_count
from pretrain.data.training import TrainingData
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.config.derive import Derived

MANY = 4  # reading a text up to 4 times is nearly as good as new text (Muennighoff et al. 2023, 2305.16264)


@dataclass(frozen=True, kw_only=True)
class NewEpoch:
    """A source that ran out, and is read for the (`epoch` + 1)-th time, in another order."""

    source: str
    sequence_length: int
    epoch: int

    def describe(self) -> str:
        """For people."""
        return f"{self.source} has been read {self.epoch} time{'s' * (self.epoch > 1)}, and begins again"


def epoch_changes(training: TrainingData, first: int, last: int) -> list[NewEpoch]:
    """The epochs, each source's first apart, that begin from sequence `first` up to `last`."""
    before, after = training.read_before(first), training.read_before(last)
    return [
        NewEpoch(source=source, sequence_length=length, epoch=epoch)
        for (length, source), sequences in training.sources.items()
        for epoch in _begun(before.get((length, source), 0), after.get((length, source), 0), len(sequences))
    ]


def _begun(before: int, after: int, size: int) -> range:
    """The epochs, the first apart, whose first sequence is at a position from `before` up to `after`."""
    return range(max(1, -(-before // size)), -(-after // size))


def check_epochs(training: TrainingData, max_epochs: Mapping[str, float], derived: Derived) -> None:
    """UserError where the run would read a source more often than it may, with the tokens that fit."""
    problems = list(overread(training, max_epochs, derived))
    if problems:
        raise UserError("\n".join(f"{problem}." for problem in problems))


def overread(training: TrainingData, max_epochs: Mapping[str, float], derived: Derived) -> Iterator[str]:
    """Each source that the run would read more often than it may, and how far it can go: a sentence each."""
    reads = training.reads(len(training))
    for name, most in max_epochs.items():
        if name in reads and reads[name] > _exactly(most):
            fits = derived.timeline.update_at_sequence(sequences_within(training, name, most))
            stage = derived.stage_at(fits.step)
            yield (
                f"data.max_epochs.{name}: the run would read it {float(reads[name]):.6g} times, and at most "
                f"{most:g} is allowed. That is enough for {fits.tokens:,} tokens of the run's "
                f"{derived.tokens:,}, {fits.tokens - stage.first_tokens:,} of them in stage '{stage.name}': "
                f"make it so short, lower the weight of {name}, add text, or raise the limit"
            )


def repeated(training: TrainingData, max_epochs: Mapping[str, float]) -> Iterator[str]:
    """Sources that are read so often that more text or fewer tokens would be better: a sentence each."""
    for name, times in training.reads(len(training)).items():
        if times > MANY and name not in max_epochs:
            tokens = sum(
                len(sequences) * length
                for (length, source), sequences in training.sources.items()
                if source == name
            )
            yield (
                f"data.sources.{name}: its {format_count(tokens)} tokens are read {float(times):.3g} times; "
                f"beyond {MANY} more text would do better (data.max_epochs.{name} sets a limit)"
            )


def sequences_within(training: TrainingData, name: str, most: float) -> int:
    """How many of the run's first sequences read a source no more often than `most` times."""
    limit = _exactly(most)
    numbers = range(len(training) + 1)
    return bisect_right(numbers, limit, key=lambda i: training.reads(i).get(name, Fraction())) - 1


def _exactly(most: float) -> Fraction:
    """As it is written in the config."""
    return Fraction(str(most))
