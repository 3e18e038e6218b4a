"""A block: a token mixer, then a channel mixer, each a normed branch of the residual stream.

Shapes: T tokens, H hidden width.
"""

from __future__ import annotations

from torch import Tensor, nn

from megatron_lite.kernels.residual import add_branch
from megatron_lite.model.documents import Documents
from megatron_lite.model.layers import RMSNorm
from megatron_lite.model.rope import Rotation
from megatron_lite.model.router import RouterStatistics
from megatron_lite.model.shape import ModelShape


class Block(nn.Module):
    """h += residual_multiplier · mixer(norm(h)), for both mixers.

    The token mixer maps (x_TH, turn, documents) to y_TH, the channel mixer (x_TH, real_T of the documents) to
    y_TH and the statistics of its router or None.
    """

    def __init__(self, shape: ModelShape, *, mixer: nn.Module, channel: nn.Module) -> None:
        super().__init__()
        self.residual_multiplier = shape.residual_multiplier
        self.mixer_norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mixer = mixer
        self.channel_norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.channel = channel

    def forward(
        self, h_TH: Tensor, turn: Rotation, documents: Documents
    ) -> tuple[Tensor, RouterStatistics | None]:
        """The stream after both mixers, and the router's statistics where there is one."""
        mixed_TH = self.mixer(self.mixer_norm(h_TH), turn, documents)
        h_TH = add_branch(h_TH, mixed_TH, self.residual_multiplier)
        channel_TH, statistics = self.channel(self.channel_norm(h_TH), documents.real_T)
        return add_branch(h_TH, channel_TH, self.residual_multiplier), statistics
