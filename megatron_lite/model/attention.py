"""Attention as a token mixer: grouped queries, rotary positions, one matrix product for q, k and v.

Shapes: T tokens, H hidden width, N query heads, K key and value heads, D head width.
"""

from __future__ import annotations

from torch import Tensor, nn

from megatron_lite.kernels.attention import attention
from megatron_lite.model.documents import Documents
from megatron_lite.model.layers import Linear
from megatron_lite.model.rope import Rotation, rotate
from megatron_lite.model.shape import ModelShape


class Attention(nn.Module):
    """Mixes the earlier tokens of the same document into each token."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.scale = shape.attention_multiplier  # 1/head_dim under µP, where q and k grow aligned
        widths = [num * shape.head_dim for num in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        self.widths = widths
        self.qkv = Linear(shape.hidden_size, sum(widths))
        self.output = Linear(widths[0], shape.hidden_size)

    def forward(self, x_TH: Tensor, turn: Rotation, documents: Documents) -> Tensor:
        """One output a token."""
        heads = self.qkv(x_TH).split(self.widths, dim=-1)
        q_TND, k_TKD, v_TKD = (part.unflatten(-1, (-1, self.head_dim)) for part in heads)
        mixed_TND = attention(rotate(q_TND, turn), rotate(k_TKD, turn), v_TKD, documents, self.scale)
        return self.output(mixed_TND.flatten(1))
