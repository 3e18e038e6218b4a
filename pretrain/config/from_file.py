"""From file: a learning rate that stands in a table, for curves that no formula of ours gives.

It lives here because the schedules themselves read no files. The table is read when the config is loaded and
kept in `points`: the resolved config and the checkpoints carry it, and a file that changes later shows as a
changed past.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from megatron_lite.options import Count, NonNegativeReal
from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.registry import register
from pretrain.config.lr_table import MAX_POINTS, read_table


@register
class FromFile(Schedule):
    """The table's rates at its tokens, interpolated between, and held before the first and after the last."""

    name: Literal["from_file"] = Field("from_file", description="which schedule")
    path: str | None = Field(
        None,
        description="CSV whose header has tokens and lr, or JSON lines with these keys, such as a run's "
        "metrics.jsonl; not read where there are points",
    )
    points: tuple[tuple[Count, NonNegativeReal], ...] = Field(
        (), max_length=MAX_POINTS, description="the table: pairs of tokens and rate, tokens ascending"
    )
    interpolation: Literal["linear", "log"] = Field(
        "linear", description="between two points the rate, or its logarithm, is a line over tokens"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("points"):
            return section
        path = section.get("path")
        if path is None:
            raise ValueError("from_file needs a path to a table, or the table itself as points")
        return {**section, "points": read_table(path)} if isinstance(path, str) else section

    @field_validator("points")
    @classmethod
    def _ascending(cls, points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        for (before, _), (after, _) in pairwise(points):
            if after <= before:
                raise ValueError(f"should have ascending tokens, not {after} after {before}")
        return points

    def check(self, total_tokens: int) -> None:
        """Only rates above 0 have a logarithm."""
        super().check(total_tokens)
        zero = next((tokens for tokens, lr in self.points if not lr), None)
        if self.interpolation == "log" and zero is not None:
            raise ValueError(f"interpolation=log needs rates above 0; at {zero} tokens it is 0")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        """The table's value."""
        index = bisect_right(self.points, tokens, key=lambda point: point[0])
        if index in (0, len(self.points)):
            return self.points[max(0, index - 1)][1]
        (before, low), (after, high) = self.points[index - 1 : index + 1]
        x = (tokens - before) / (after - before)
        if not x or low == high:
            return low
        if self.interpolation == "linear":
            value = (1 - x) * low + x * high
        else:
            value = math.exp((1 - x) * math.log(low) + x * math.log(high))
        return min(max(low, high), max(min(low, high), value))  # as it is but for rounding
