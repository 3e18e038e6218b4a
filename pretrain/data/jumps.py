"""Sequences that are jumped over after a rewind: so many of a stage's own, before one of the run's order.

The timeline of a run (its steps, tokens and stages) knows nothing of them; only what is read is ahead of it.
A jump belongs to the stage of the sequence before which it lies, so that a batch never reads another stage's.
Where a run goes back over the end of a stage, what is left out of the next one can be met in the one before:
another rewind then finds it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

Jump = list[int]  # [sequence, number of sequences left out before it is read]


def jumps_over(starts: Sequence[int], first: int, last: int, beyond: int) -> Iterator[Jump]:
    """Jumps from sequence `first` over everything up to `last`, and over `beyond` more of that stage.

    `starts`: the first sequence of each stage, and the end of the last.
    """
    for start, end in pairwise(starts):
        begin, until = max(first, start), min(last, end)
        if begin < until:
            yield [begin, until - begin + (beyond if until == last else 0)]


def jumped(jumps: Sequence[Jump], starts: Sequence[int], stage: int, i: int) -> int:
    """How many of a stage's sequences are left out before the one that the timeline calls i."""
    return sum(count for at, count in jumps if starts[stage] <= at <= i and at < starts[stage + 1])


def joined(jumps: Sequence[Jump]) -> list[Jump]:
    """In order, with one jump a sequence."""
    numbers: dict[int, int] = {}
    for at, count in jumps:
        numbers[at] = numbers.get(at, 0) + count
    return [[at, numbers[at]] for at in sorted(numbers)]
