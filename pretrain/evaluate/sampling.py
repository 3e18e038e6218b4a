"""The next token from logits: greedy, or drawn under a temperature from the smallest likely set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Holtzman et al. 2020, arXiv 1904.09751, for top-p."""

    temperature: float = 1.0  # 0: always the likeliest token
    top_p: float = 1.0  # draw from the likeliest tokens that together have this probability

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature={self.temperature} is not 0 or more; 0 is greedy, 1 the model's own"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} is not above 0 and at most 1")


def choose_each(logits_BV: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> list[int]:
    """A token id for every row, drawn from its own generator.

    FloatingPointError where the logits are not finite: a model that has diverged.
    """
    if not bool(logits_BV.isfinite().all()):
        raise FloatingPointError("the model's logits are not finite")
    if sampling.temperature == 0:
        return logits_BV.argmax(-1).tolist()
    # on the host and in fp64: one seed draws the same tokens on every device
    likely_BV = torch.softmax(logits_BV.cpu().double() / sampling.temperature, dim=-1)
    pairs = zip(likely_BV, generators, strict=True)
    return [_drawn(likely_V, sampling.top_p, generator) for likely_V, generator in pairs]


def _drawn(likely_V: Tensor, top_p: float, generator: torch.Generator) -> int:
    """A place in `likely_V`, by where a uniform number falls among its sums."""
    ids = None if top_p == 1 else _likeliest(likely_V, top_p)
    sums = (likely_V if ids is None else likely_V[ids]).cumsum(0)
    uniform = torch.rand(1, generator=generator, dtype=torch.float64)
    place = torch.searchsorted(sums, uniform * sums[-1], right=True).clamp(max=len(sums) - 1)
    return int(place if ids is None else ids[place])


def _likeliest(likely_V: Tensor, top_p: float) -> Tensor:
    """The ids of the smallest set with that probability, the likeliest first."""
    # all that are less likely than this have together less than what is left out: few remain to be sorted
    ids = (likely_V >= (1 - top_p) / len(likely_V)).nonzero().flatten()
    likely, order = likely_V[ids].sort(descending=True, stable=True)
    before = likely.cumsum(0) - likely
    return ids[order[before < top_p]]
