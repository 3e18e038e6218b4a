"""The router: which experts a token uses, with what weights, and what the auxiliary losses need to know.

Shapes: T tokens, H hidden width, E experts, K experts a token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megatron_lite.kernels.precision import widen
from megatron_lite.model.shape import ModelShape


class Routing(NamedTuple):
    """The choice made for every token."""

    experts_TK: Tensor
    weights_TK: Tensor  # they add up to 1
    counts_E: Tensor  # of tokens an expert gets, int64


class RouterStatistics(NamedTuple):
    """Sums over the tokens of one layer. Values, not side effects: a recomputed layer counts once."""

    counts_E: Tensor  # tokens that use an expert, fp32, no gradient
    probability_sums_E: Tensor  # of the softmax over all experts
    z_sum: Tensor  # of logsumexp(logits) squared


class Router(nn.Module):
    """A linear map to the experts, the top k of it, and a softmax over those k."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        assert shape.num_experts is not None
        assert shape.experts_per_token is not None
        self.num_chosen = shape.experts_per_token
        self.weight = nn.Parameter(torch.empty(shape.num_experts, shape.hidden_size))

    def forward(self, x_TH: Tensor) -> tuple[Routing, RouterStatistics]:
        """Logits in fp32: in bf16 near ties would fall by rounding, and differently on every machine."""
        logits_TE = F.linear(widen(x_TH), widen(self.weight))
        chosen_TK, experts_TK = logits_TE.topk(self.num_chosen, dim=-1)
        weights_TK = chosen_TK.softmax(-1).to(x_TH.dtype)
        counts_E = _counts(experts_TK, len(self.weight))
        return Routing(experts_TK, weights_TK, counts_E), _statistics(logits_TE, counts_E)


def _counts(experts_TK: Tensor, num_experts: int) -> Tensor:
    chosen = experts_TK.flatten()  # bincount would wait for the device
    return chosen.new_zeros(num_experts).scatter_add_(0, chosen, torch.ones_like(chosen))


def _statistics(logits_TE: Tensor, counts_E: Tensor) -> RouterStatistics:
    log_total_T = logits_TE.logsumexp(-1)
    return RouterStatistics(
        counts_E=counts_E.float(),
        probability_sums_E=logits_TE.softmax(-1).sum(0),
        z_sum=log_total_T.square().sum(),
    )
