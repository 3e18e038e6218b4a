"""The dense channel mixer: a SwiGLU with one matrix product for gate and up.

Shapes: T tokens, H hidden width.
"""

from __future__ import annotations

from torch import Tensor, nn

from megatron_lite.kernels.choice import Kernels
from megatron_lite.kernels.swiglu import swiglu
from megatron_lite.model.layers import Linear
from megatron_lite.model.shape import ModelShape


class MLP(nn.Module):
    """down(silu(gate x) * up x); it routes nothing, so it has no statistics."""

    def __init__(self, shape: ModelShape, kernels: Kernels) -> None:
        super().__init__()
        wide = kernels.wide_products
        self.gate_up = Linear(shape.hidden_size, 2 * shape.intermediate_size, wide=wide)
        self.down = Linear(shape.intermediate_size, shape.hidden_size, wide=wide)

    def forward(self, x_TH: Tensor, real_T: Tensor | None = None) -> tuple[Tensor, None]:
        """One output a token, padding included."""
        return self.down(swiglu(self.gate_up(x_TH))), None
