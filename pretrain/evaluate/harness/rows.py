"""Questions about texts as rows of packed documents: nothing is padded, and what is the same is read once.

A question is how likely a continuation is behind a context. The decoder reads both but the last token, and
each token of the continuation is looked up where it is predicted. Questions whose reading begins alike (the
answers of one letter to one question, say) share a document: what stands behind does not change what came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from megatron_lite.model.documents import Documents, in_a_row


@dataclass(frozen=True, kw_only=True)
class Question:
    """The tokens that are read, and those that the last of them should predict."""

    read: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Documents that one rank reads in one pass, and where in them which tokens are asked for."""

    tokens: np.ndarray  # int32, of all documents
    lengths: tuple[int, ...]  # of each document
    questions: tuple[int, ...]  # their numbers
    answer_lengths: tuple[int, ...]  # of each question
    places: np.ndarray  # int32, of all answers: behind which token it is predicted
    answers: np.ndarray  # int32

    def documents(self) -> Documents:
        """Where they begin and end."""
        return in_a_row(self.lengths)


def question(context: Sequence[int], continuation: Sequence[int], max_positions: int) -> Question:
    """What is read to know the continuation; contexts that are too long lose their beginning."""
    read = (*context, *continuation)[-(max_positions + 1) :][:-1]
    return Question(read=tuple(read), answer=tuple(continuation))


def rows(questions: Sequence[Question], batch_tokens: int) -> list[Row]:
    """All questions in rows of at most `batch_tokens`, long documents first; one longer is a row alone."""
    shared = sorted(_shared(questions), key=lambda document: (-len(document[0]), document[0]))
    return [_row(questions, documents) for documents in _filled(shared, batch_tokens)]


_Document = tuple[tuple[int, ...], list[int]]  # what is read, and for which questions


def _shared(questions: Sequence[Question]) -> list[_Document]:
    """Each reading once; one that another begins with is answered by the longer."""
    found: list[_Document] = []
    # in this order all that begins with a reading stands right before it
    for number in sorted(range(len(questions)), key=lambda number: questions[number].read, reverse=True):
        read = questions[number].read
        if found and found[-1][0][: len(read)] == read:
            found[-1][1].append(number)
        else:
            found.append((read, [number]))
    return found


def _filled(documents: Sequence[_Document], batch_tokens: int) -> Iterator[list[_Document]]:
    taken: list[_Document] = []
    used = 0
    for document in documents:
        if taken and used + len(document[0]) > batch_tokens:
            yield taken
            taken, used = [], 0
        taken.append(document)
        used += len(document[0])
    if taken:
        yield taken


def _row(questions: Sequence[Question], documents: Sequence[_Document]) -> Row:
    lengths = tuple(len(read) for read, _ in documents)
    begins = [0, *accumulate(lengths)]
    asked = [
        (number, begin)
        for (_, numbers), begin in zip(documents, begins[:-1], strict=True)
        for number in numbers
    ]
    places = [_places(questions[number], begin) for number, begin in asked]
    answers = [np.array(questions[number].answer, dtype=np.int32) for number, _ in asked]
    return Row(
        tokens=np.concatenate([np.array(read, dtype=np.int32) for read, _ in documents]),
        lengths=lengths,
        questions=tuple(number for number, _ in asked),
        answer_lengths=tuple(len(answer) for answer in answers),
        places=np.concatenate(places),
        answers=np.concatenate(answers),
    )


def _places(question: Question, begin: int) -> np.ndarray:
    end = begin + len(question.read)
    return np.arange(end - len(question.answer), end, dtype=np.int32)
