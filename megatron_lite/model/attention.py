"""Attention as a token mixer: grouped queries, rotary positions, one matrix product for q, k and v.

Shapes: T tokens, H hidden width, N query heads, K key and value heads, D head width.
"""

from __future__ import annotations

from torch import Tensor, nn

from megatron_lite.kernels.attention import attention
from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.documents import Documents
from megatron_lite.model.layers import Linear
from megatron_lite.model.rope import Rotation, rotate
from megatron_lite.model.shape import ModelShape


class Attention(nn.Module):
    """Mixes the earlier tokens of the same document into each token."""

    def __init__(self, shape: ModelShape, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        self.head_dim = shape.head_dim
        self.scale = shape.attention_multiplier  # 1/head_dim under µP, where q and k grow aligned
        self.heads = (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)
        wide = kernels.wide_products
        self.qkv = Linear(shape.hidden_size, sum(self.heads) * shape.head_dim, wide=wide)
        self.output = Linear(shape.num_heads * shape.head_dim, shape.hidden_size, wide=wide)

    def forward(self, x_TH: Tensor, turn: Rotation, documents: Documents) -> Tensor:
        """One output a token."""
        q_TND, k_TKD, v_TKD = self.project(x_TH, turn)
        mixed_TND = self.mix(q_TND, k_TKD, v_TKD, documents)
        return self.output(mixed_TND.flatten(1))

    def project(self, x_TH: Tensor, turn: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """q_TND, k_TKD and v_TKD of every token, q and k turned."""
        num_queries, num_keys, num_values = self.heads
        heads = self.qkv(x_TH).unflatten(-1, (-1, self.head_dim))
        turning, v_TKD = heads.split([num_queries + num_keys, num_values], dim=1)
        q_TND, k_TKD = rotate(turning, turn).split([num_queries, num_keys], dim=1)  # in one piece: one pass
        return q_TND, k_TKD, v_TKD

    def mix(self, q_TND: Tensor, k_TKD: Tensor, v_TKD: Tensor, documents: Documents) -> Tensor:
        """What each query finds among the earlier tokens of its document, TND."""
        return attention(
            q_TND,
            k_TKD,
            v_TKD,
            documents,
            self.scale,
            kind=self.kernels.attention,
            wide=self.kernels.wide_products,
            deterministic=self.kernels.deterministic,
        )
