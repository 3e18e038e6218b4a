"""The exact tokens of one training sequence of a run, and where they come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.data.prepare import open_corpus
from pretrain.data.tokenizer import Tokenizer
from pretrain.data.training import TrainingData
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The part of a document that lies in a sequence: tokens `start` up to `end` of its inputs."""

    start: int
    end: int
    ends: bool  # with its end token; otherwise the document goes on
    text: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A sequence of S inputs; `tokens` has one more, which is the target of the last."""

    sequence: int
    stage: str
    step: int  # the update that trains it, counted from 1 as in metrics.jsonl, unless some were skipped
    source: str
    epoch: int
    index: int
    sequence_length: int
    padding: int
    documents: tuple[Piece, ...]
    tokens: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def show_sequence(config: Config, number: int) -> Shown:
    """Sequence `number` of the run that a config describes, counted from 0 over all its stages."""
    derived = derived_of(config)
    first = derived.past.here.sequence
    corpus = open_corpus(config.data)
    training = TrainingData(corpus, derived.stages, config.run.seed, first=first, packing=config.data.packing)
    if not first <= number < len(training):
        before = f" (those before {first:,} are of the run that it branches from)" if first else ""
        raise UserError(
            f"--sequence {number}: the run reads sequences {first:,} to {len(training) - 1:,}{before}."
        )
    origin, tokens = training.origin(number), training.sequence(number)
    held = tokens[:-1][tokens[:-1] >= 0]  # what is below 0 is padding
    stage = next(stage for stage in reversed(derived.stages) if stage.first_sequence <= number)
    return Shown(
        sequence=number,
        stage=stage.name,
        step=derived.timeline.update_at_sequence(number).step + 1,
        source=origin.source,
        epoch=origin.epoch,
        index=origin.index,
        sequence_length=origin.sequence_length,
        padding=origin.sequence_length - len(held),
        documents=tuple(_pieces(held, corpus.tokenizer)),
        tokens=tuple(tokens.tolist()),
    )


def _pieces(tokens: np.ndarray, tokenizer: Tokenizer) -> list[Piece]:
    """Cut after every end token, as the mask of documents is."""
    ends = (np.flatnonzero(tokens == tokenizer.end_id) + 1).tolist()
    bounds = sorted({0, *ends, len(tokens)})
    return [
        Piece(start=start, end=end, ends=end in ends, text=tokenizer.decode(tokens[start:end].tolist()))
        for start, end in pairwise(bounds)
    ]
