"""Which token counts are shown, and what holds at one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megatron_lite.options import parse_count
from pretrain.errors import UserError

NUM_POINTS = 20


@dataclass(frozen=True, kw_only=True)
class Point:
    """What holds for the update that is made when `tokens` have been trained."""

    tokens: int
    batch_tokens: int
    lr: float  # of the group with ratio 1
    groups: Mapping[str, float]  # learning rate by group; empty where they are not asked for
    compare: Mapping[str, float]  # by schedule; likewise

    def to_json(self) -> dict[str, Any]:
        """Plain values, unrounded, under the names that scripts rely on."""
        plain: dict[str, Any] = {"tokens": self.tokens, "batch_tokens": self.batch_tokens, "lr": self.lr}
        optional = {"groups": dict(self.groups), "compare": dict(self.compare)}
        return plain | {name: values for name, values in optional.items() if values}


def evenly(first: int, last: int, num_points: int = NUM_POINTS) -> tuple[int, ...]:
    """Token counts from `first` to `last`, both among them."""
    return tuple(first + index * (last - first) // (num_points - 1) for index in range(num_points))


def parse_counts(texts: Sequence[str]) -> tuple[int, ...]:
    """Token counts as `--at` takes them: several options, or several counts in one."""
    return tuple(_parsed(texts))


def _parsed(texts: Sequence[str]) -> Iterator[int]:
    for text in (part for whole in texts for part in whole.split(",")):
        try:
            yield parse_count(text)
        except ValueError as error:
            raise UserError(f"--at: {text!r} {error}") from error
