"""The sparse channel mixer: a router, experts, and a dispatcher between them that drops no token.

Shapes: T tokens, H hidden width, E experts, I inner width, K experts a token, R = T·K rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from megatron_lite.kernels.choice import Kernels
from megatron_lite.kernels.grouped import grouped_linear
from megatron_lite.kernels.rows import combine, invert, spread
from megatron_lite.kernels.swiglu import swiglu
from megatron_lite.model.router import Router, RouterStatistics, Routing
from megatron_lite.model.shape import ModelShape

ExpertsFunction = Callable[[Tensor, Tensor], Tensor]  # (x_RH sorted by expert, ends_E) -> y_RH


class Dispatcher(Protocol):
    """Brings tokens to the experts that they use, and the weighted sum of the results back."""

    def __call__(self, x_TH: Tensor, routing: Routing, experts: ExpertsFunction) -> Tensor:
        """One output a token."""
        ...


class SortedDispatcher:
    """All experts are here: tokens are sorted by expert, so that each one finds its own in a row."""

    def __call__(self, x_TH: Tensor, routing: Routing, experts: ExpertsFunction) -> Tensor:
        """One output a token."""
        order_R = routing.experts_TK.flatten().argsort(stable=True)
        inverse_TK = invert(order_R, routing.experts_TK.shape[1])
        ends_E = routing.counts_E.cumsum(0).to(torch.int32)
        y_RH = experts(spread(x_TH, order_R, inverse_TK), ends_E)
        return combine(y_RH, routing.weights_TK, order_R, inverse_TK)


class Experts(nn.Module):
    """A SwiGLU for every expert, the weights of all in two tensors."""

    def __init__(self, shape: ModelShape, kernels: Kernels) -> None:
        super().__init__()
        assert shape.num_experts is not None
        self.kernels = kernels
        hidden, inner = shape.hidden_size, shape.intermediate_size
        self.gate_up = nn.Parameter(torch.empty(shape.num_experts, 2 * inner, hidden))
        self.down = nn.Parameter(torch.empty(shape.num_experts, hidden, inner))

    def forward(self, x_RH: Tensor, ends_E: Tensor) -> Tensor:
        """Each row through the expert whose it is."""
        grouped, wide = self.kernels.grouped_experts, self.kernels.wide_products
        inner_RI2 = grouped_linear(x_RH, self.gate_up, ends_E, grouped=grouped, wide=wide)
        return grouped_linear(swiglu(inner_RI2), self.down, ends_E, grouped=grouped, wide=wide)


class MoE(nn.Module):
    """The sum of a token's experts, weighted by the router."""

    def __init__(self, shape: ModelShape, dispatcher: Dispatcher, kernels: Kernels) -> None:
        super().__init__()
        self.router = Router(shape)
        self.experts = Experts(shape, kernels)
        self.dispatcher = dispatcher

    def forward(self, x_TH: Tensor, real_T: Tensor | None = None) -> tuple[Tensor, RouterStatistics]:
        """One output a token, and what the router's losses need: of real tokens where some are padding."""
        routing, statistics = self.router(x_TH, real_T)
        return self.dispatcher(x_TH, routing, self.experts), statistics

    def output(self, x_TH: Tensor) -> Tensor:
        """The output alone: a model that is not trained has no use for the rest."""
        return self.dispatcher(x_TH, self.router.choose(x_TH)[1], self.experts)
