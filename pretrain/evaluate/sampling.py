"""The next token from logits: greedy, or drawn under a temperature from the smallest likely set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Holtzman et al. 2020, arXiv 1904.09751, for top-p."""

    temperature: float = 1.0  # 0: always the likeliest token
    top_p: float = 1.0  # draw from the likeliest tokens that together have this probability

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} is negative; 0 is greedy, 1 the model's own")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} is not above 0 and at most 1")


def choose(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A token id. FloatingPointError where the logits are not finite: a model that has diverged."""
    if not bool(logits_V.isfinite().all()):
        raise FloatingPointError("the model's logits are not finite")
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    # on the host and in fp64: one seed draws the same tokens on every device
    likely_V, ids_V = torch.softmax(logits_V.cpu().double() / sampling.temperature, dim=0).sort(
        descending=True
    )
    before_V = likely_V.cumsum(dim=0) - likely_V
    likely_V[before_V >= sampling.top_p] = 0
    return int(ids_V[torch.multinomial(likely_V, 1, generator=generator)])
