"""How much text a run reads of each source, and how often where its corpus is built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pretrain.config.history import StagePlan
from pretrain.data.mixture import whole_parts
from pretrain.planning.disk import shard_bytes

if TYPE_CHECKING:
    from pretrain.data.training import TrainingData


@dataclass(frozen=True, kw_only=True)
class Need:
    """Tokens that a run reads of a source, and how often that reads it; None: the corpus is not built."""

    source: str
    tokens: int
    share: float  # of all that the run reads
    shard_bytes: int  # on disk, if none of it is read twice
    has_tokens: int | None
    epochs: float | None


def needs(stages: Iterable[StagePlan], vocab_size: int) -> tuple[Need, ...]:
    """Of every source of the stages ahead, the most first."""
    tokens: dict[str, Fraction] = {}
    for stage in stages:
        parts = whole_parts(list(stage.mix.values()))
        for name, part in zip(stage.mix, parts, strict=True):
            tokens[name] = tokens.get(name, Fraction()) + Fraction(stage.tokens * part, sum(parts))
    total = sum(tokens.values())
    ordered = sorted(tokens.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Need(
            source=name,
            tokens=round(count),
            share=float(count / total),
            shard_bytes=shard_bytes(round(count), vocab_size),
            has_tokens=None,
            epochs=None,
        )
        for name, count in ordered
    )


def with_epochs(found: tuple[Need, ...], training: TrainingData | None) -> tuple[Need, ...]:
    """The same with what the built corpus says."""
    if training is None:
        return found
    epochs = training.epochs()
    has: dict[str, int] = {}
    for (length, name), sequences in training.sources.items():
        has[name] = max(has.get(name, 0), len(sequences) * length)
    return tuple(
        replace(need, has_tokens=has.get(need.source), epochs=epochs.get(need.source)) for need in found
    )
