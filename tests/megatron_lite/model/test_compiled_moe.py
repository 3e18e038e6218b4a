"""A compiled mixture of experts has the gradients of a plain one, whatever the numbers of experts are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.moe import MoE, SortedDispatcher

NUMBERS = [(2, 2), (3, 1), (3, 2), (4, 2), (5, 2), (5, 3), (6, 2), (7, 2), (8, 4), (12, 3), (40, 8), (62, 8)]


@pytest.mark.parametrize(
    ("experts", "chosen"),
    [numbers if numbers == (5, 2) else pytest.param(*numbers, marks=pytest.mark.slow) for numbers in NUMBERS],
)
def test_the_gradient_of_the_output_alone(experts: int, chosen: int, make_shape: Callable) -> None:
    """Without the router's own losses, which hide that a router learns nothing from the output."""
    torch.compiler.reset()
    torch.manual_seed(0)
    moe = MoE(make_shape(num_experts=experts, experts_per_token=chosen), SortedDispatcher(), Kernels())
    for weight in moe.parameters():
        nn.init.normal_(weight, std=0.3)
    x_TH, along_TH = torch.randn(64, 32), torch.randn(64, 32)

    def found(run: Callable) -> dict[str, Tensor]:
        moe.zero_grad()
        input_TH = x_TH.clone().requires_grad_()
        output_TH, statistics = run(input_TH)
        (output_TH * along_TH).sum().backward()
        gradients = {name: weight.grad for name, weight in moe.named_parameters()}
        seen = {"output": output_TH.detach(), "counts": statistics.counts_E, "input": input_TH.grad}
        return seen | gradients

    plain, compiled = found(moe), found(torch.compile(moe, fullgraph=True))
    for name, tensor in plain.items():
        limit = 1e-5 * float(tensor.abs().max())
        assert float((compiled[name] - tensor).abs().max()) <= limit, name
