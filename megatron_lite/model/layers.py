"""The two plain layers, a matrix and a gain, without weights of their own making.

torch's own would fill them with random numbers that are thrown away: `mup.initial` gives every weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from megatron_lite.kernels.product import linear
from megatron_lite.kernels.rms_norm import rms_norm


class Linear(nn.Module):
    """y = W x, no bias; `wide`: multiplied in fp32 whatever the weights are held in."""

    def __init__(self, num_inputs: int, num_outputs: int, *, wide: bool = False) -> None:
        super().__init__()
        self.wide = wide
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs))

    def forward(self, x: Tensor) -> Tensor:
        """W x for every row of x."""
        return linear(x, self.weight, wide=self.wide)


class RMSNorm(nn.Module):
    """x / rms(x) times a gain a channel."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden_size))
        self.eps = eps

    def forward(self, x_TH: Tensor) -> Tensor:
        """Every row of x, normed."""
        return rms_norm(x_TH, self.weight, self.eps)
