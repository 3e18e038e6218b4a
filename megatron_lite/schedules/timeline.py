"""Updates, tokens and sequences of a run, mapped to each other exactly in every direction.

A run is a list of segments: consecutive updates with one global batch. Everything that a run counts follows
from it, so no counter is kept that could drift from another.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Point:
    """A boundary between two updates."""

    step: int = 0  # updates made
    tokens: int = 0  # trained by them, over all ranks
    sequence: int = 0  # the next sequence of the run's order


@dataclass(frozen=True, kw_only=True)
class Update:
    """One update: what it finds, and its batch."""

    step: int  # updates made before it
    tokens: int
    sequence: int
    sequences: int
    sequence_length: int

    @property
    def batch_tokens(self) -> int:
        """Tokens in its batch."""
        return self.sequences * self.sequence_length

    @property
    def after(self) -> Point:
        """Where the run stands once it is made."""
        return Point(
            step=self.step + 1,
            tokens=self.tokens + self.batch_tokens,
            sequence=self.sequence + self.sequences,
        )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Consecutive updates with one global batch."""

    first_step: int
    first_tokens: int
    first_sequence: int
    steps: int
    sequences: int
    sequence_length: int

    @property
    def batch_tokens(self) -> int:
        """Tokens in each of its batches."""
        return self.sequences * self.sequence_length

    @property
    def end(self) -> Point:
        """Where the run stands behind it."""
        return Point(
            step=self.first_step + self.steps,
            tokens=self.first_tokens + self.steps * self.batch_tokens,
            sequence=self.first_sequence + self.steps * self.sequences,
        )

    def update(self, step: int) -> Update:
        """The update that is made after `step` others, all counted from the run's first."""
        within = step - self.first_step
        return Update(
            step=step,
            tokens=self.first_tokens + within * self.batch_tokens,
            sequence=self.first_sequence + within * self.sequences,
            sequences=self.sequences,
            sequence_length=self.sequence_length,
        )

    def cut(self, step: int) -> Segment:
        """The part of it before update `step`."""
        return replace(self, steps=min(self.steps, step - self.first_step))


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All updates of a run, in order."""

    segments: tuple[Segment, ...]

    @property
    def end(self) -> Point:
        """Behind the last update."""
        return self.segments[-1].end

    def update(self, step: int) -> Update:
        """The update that is made after `step` others; IndexError where there is none."""
        return self._found(step, "first_step", self.end.step).update(step)

    def update_at_tokens(self, tokens: int) -> Update:
        """The update that trains the token after `tokens` others; IndexError where there is none."""
        segment = self._found(tokens, "first_tokens", self.end.tokens)
        return segment.update(segment.first_step + (tokens - segment.first_tokens) // segment.batch_tokens)

    def update_at_sequence(self, sequence: int) -> Update:
        """The update that trains a sequence of the run's order; IndexError where there is none."""
        segment = self._found(sequence, "first_sequence", self.end.sequence)
        return segment.update(segment.first_step + (sequence - segment.first_sequence) // segment.sequences)

    def before(self, step: int) -> tuple[Segment, ...]:
        """The segments of the first `step` updates."""
        return tuple(segment.cut(step) for segment in self.segments if segment.first_step < step)

    def _found(self, number: int, key: str, end: int) -> Segment:
        index = bisect_right(self.segments, number, key=lambda segment: getattr(segment, key)) - 1
        if index < 0 or number >= end:
            raise IndexError(number)
        return self.segments[index]


def stretch(
    start: Point, *, tokens: int, sequences_at: Callable[[int], int], sequence_length: int
) -> Iterator[Segment]:
    """Updates from `start` until at least `tokens` more are trained, by a batch that never shrinks."""
    end = start.tokens + tokens
    while start.tokens < end:
        first, sequences = start.tokens, sequences_at(start.tokens)
        batch_tokens = sequences * sequence_length
        most = -(-(end - first) // batch_tokens)

        def grown(step: int, first: int = first, size: int = batch_tokens, before: int = sequences) -> bool:
            return sequences_at(first + step * size) != before

        segment = Segment(
            first_step=start.step,
            first_tokens=start.tokens,
            first_sequence=start.sequence,
            steps=_until(most, grown),
            sequences=sequences,
            sequence_length=sequence_length,
        )
        yield segment
        start = segment.end


def _until(most: int, grown: Callable[[int], bool]) -> int:
    """The first of 1 .. most at which `grown` holds, else `most`; near ones are found soonest."""
    far = 1
    while far < most and not grown(far):
        far *= 2
    return bisect_left(range(min(far, most)), True, lo=far // 2, key=grown)


def joined(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """The same updates in as few segments as can be."""
    found: list[Segment] = []
    for segment in segments:
        last = found[-1] if found else None
        if last and (last.sequences, last.sequence_length) == (segment.sequences, segment.sequence_length):
            found[-1] = replace(last, steps=last.steps + segment.steps)
        else:
            found.append(segment)
    return tuple(found)
