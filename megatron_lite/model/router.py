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
    """Sums over the real tokens of one layer. Values, not side effects: a recomputed layer counts once."""

    counts_E: Tensor  # tokens that use an expert, fp32, no gradient
    probability_sums_E: Tensor  # of the softmax over all experts
    z_sum: Tensor  # of logsumexp(logits) squared
    entropy_sum: Tensor  # of each token's softmax over all experts, in nats, no gradient


class Router(nn.Module):
    """A linear map to the experts, the top k of it, and a softmax over those k."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        assert shape.num_experts is not None
        assert shape.experts_per_token is not None
        self.num_chosen = shape.experts_per_token
        self.weight = nn.Parameter(torch.empty(shape.num_experts, shape.hidden_size))

    def forward(self, x_TH: Tensor, real_T: Tensor | None = None) -> tuple[Routing, RouterStatistics]:
        """The choice for every token, and what the auxiliary losses need of the real ones; None: of all."""
        logits_TE, routing = self.choose(x_TH)
        if real_T is None:
            return routing, _statistics(logits_TE, routing.counts_E)
        here_TKE = _one_hot(routing.experts_TK, len(self.weight)) & real_T[:, None, None]
        return routing, _statistics(logits_TE, here_TKE.sum((0, 1)), real_T)

    def choose(self, x_TH: Tensor) -> tuple[Tensor, Routing]:
        """Logits in fp32: in bf16 near ties would fall by rounding, and differently on every machine."""
        logits_TE = F.linear(widen(x_TH), widen(self.weight))
        chosen_TK, experts_TK, counts_E = _top(logits_TE, self.num_chosen)
        weights_TK = chosen_TK.softmax(-1).to(x_TH.dtype)
        return logits_TE, Routing(experts_TK, weights_TK, counts_E)


def _top(logits_TE: Tensor, num_chosen: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logits of each token, whose they are, and how often each expert has one."""
    num_experts = logits_TE.shape[-1]
    if not torch.compiler.is_compiling():
        chosen_TK, experts_TK = logits_TE.topk(num_chosen, dim=-1)
        flat_R = experts_TK.flatten()  # bincount would wait for the device
        counts_E = flat_R.new_zeros(num_experts).scatter_add_(0, flat_R, torch.ones_like(flat_R))
        return chosen_TK, experts_TK, counts_E
    # Nothing that scatters, here or backward: the compiler of torch 2.13 may read such a result before it is
    # written, and with 2 of 5 experts the router then learns nothing from the loss, without a word.
    experts_TK = logits_TE.detach().topk(num_chosen, dim=-1).indices
    here_TKE = _one_hot(experts_TK, num_experts)
    return torch.where(here_TKE, logits_TE[:, None], 0.0).sum(-1), experts_TK, here_TKE.sum((0, 1))


def _one_hot(experts_TK: Tensor, num_experts: int) -> Tensor:
    return experts_TK[..., None] == torch.arange(num_experts, device=experts_TK.device)


def _statistics(logits_TE: Tensor, counts_E: Tensor, real_T: Tensor | None = None) -> RouterStatistics:
    log_total_T, probabilities_TE = logits_TE.logsumexp(-1), logits_TE.softmax(-1)
    mean_logit_T = (probabilities_TE.detach() * logits_TE.detach()).sum(-1)
    if real_T is not None:
        log_total_T = torch.where(real_T, log_total_T, 0.0)
        mean_logit_T = torch.where(real_T, mean_logit_T, 0.0)
        probabilities_TE = torch.where(real_T[:, None], probabilities_TE, 0.0)
    return RouterStatistics(
        counts_E=counts_E.float(),
        probability_sums_E=probabilities_TE.sum(0),
        z_sum=log_total_T.square().sum(),
        entropy_sum=(log_total_T.detach() - mean_logit_T).sum(),
    )
