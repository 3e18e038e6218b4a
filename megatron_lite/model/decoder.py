"""The decoder: Granite and GraniteMoe as transformers defines them, over documents packed in a row.

    h = embedding(tokens) · embedding_multiplier
    h = h + residual_multiplier · mixer(norm(h))        in each block, attention and then MLP or experts
    logits = head(norm(h)) / logits_scaling

Shapes: T tokens, H hidden width, V vocabulary, L layers, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megatron_lite.kernels.choice import Kernels
from megatron_lite.kernels.cross_entropy import linear_cross_entropy
from megatron_lite.kernels.precision import widen
from megatron_lite.model.attention import Attention
from megatron_lite.model.block import Block
from megatron_lite.model.documents import Documents
from megatron_lite.model.layers import RMSNorm
from megatron_lite.model.loss import IGNORE
from megatron_lite.model.mlp import MLP
from megatron_lite.model.moe import Dispatcher, MoE, SortedDispatcher
from megatron_lite.model.recompute import runner
from megatron_lite.model.rope import rotation
from megatron_lite.model.router import RouterStatistics
from megatron_lite.model.shape import ModelShape

See = Callable[[int, Tensor, RouterStatistics | None], None]
"""(layer, the residual stream behind it TH, the statistics of its router), without gradient."""


class Decoder(nn.Module):
    """A decoder of the given shape, its weights not yet set.

    Embedding and head are parameters of the decoder itself: ZeRO-3 gathers a module's own parameters while
    it runs, and a tied embedding is used at both ends of it. There are no buffers.
    """

    def __init__(
        self, shape: ModelShape, kernels: Kernels | None = None, dispatcher: Dispatcher | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.kernels = kernels = kernels or Kernels()
        self._run_block = runner(kernels)
        self._see: See | None = None
        vocabulary = (shape.vocab_size, shape.hidden_size)
        self.embedding = nn.Parameter(torch.empty(vocabulary))
        self.head = None if shape.tied else nn.Parameter(torch.empty(vocabulary))
        self.layers = nn.ModuleList(
            Block(
                shape,
                mixer=Attention(shape, kernels),
                channel=_channel(shape, kernels, dispatcher or SortedDispatcher()),
            )
            for _ in range(shape.num_layers)
        )
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Documents) -> dict[str, Tensor]:
        """Sums over the tokens, ready to be added over micro-batches and ranks.

        loss_sum: nats over the targets that are not IGNORE. With experts, a row a layer:
        expert_counts_LE: tokens that use an expert; probability_sums_LE: of the softmax over all experts;
        z_sums_L: of logsumexp(router logits)².
        """
        h_TH, statistics = self._hidden(tokens_T, documents)
        loss_sum = linear_cross_entropy(
            h_TH,
            self._output_weight(),
            targets_T,
            scaling=self.shape.logits_scaling,
            ignore=IGNORE,
            wide=self.kernels.wide_products,
        )
        return {"loss_sum": loss_sum, **_by_layer(statistics)}

    def logits(self, tokens_T: Tensor, documents: Documents) -> Tensor:
        """The logits of every token, TV in fp32: for generation and tests, not for training."""
        return self.logits_of(self.hidden(tokens_T, documents))

    def embed(self, tokens_T: Tensor) -> Tensor:
        """The residual stream before the first block, TH."""
        return F.embedding(tokens_T, self.embedding) * self.shape.embedding_multiplier

    def logits_of(self, h_TH: Tensor) -> Tensor:
        """The logits TV, in fp32, of the normed stream behind the last block."""
        return widen(F.linear(h_TH, self._output_weight())) / self.shape.logits_scaling

    @contextmanager
    def watched(self, see: See) -> Iterator[None]:
        """Meanwhile `see` is shown what every block makes, once a forward pass.

        It looks from outside of what is compiled and of what the backward pass computes again.
        """
        self._see = see
        try:
            yield
        finally:
            self._see = None

    def hidden(self, tokens_T: Tensor, documents: Documents) -> Tensor:
        """The normed stream behind the last block, TH; `logits_of` a part of it costs that part."""
        return self._hidden(tokens_T, documents)[0]

    def _hidden(self, tokens_T: Tensor, documents: Documents) -> tuple[Tensor, list[RouterStatistics]]:
        turn = rotation(documents.positions_T, self.shape.head_dim, self.shape.rope_theta)
        h_TH = self.embed(tokens_T)
        statistics = []
        for layer, block in enumerate(self.layers):
            h_TH, of_layer = self._run_block(block, h_TH, turn, documents)
            statistics.append(of_layer)
            if self._see is not None:
                self._see(layer, h_TH.detach(), of_layer)
        return self.norm(h_TH), [of_layer for of_layer in statistics if of_layer is not None]

    def _output_weight(self) -> Tensor:
        return self.embedding if self.head is None else self.head


def _channel(shape: ModelShape, kernels: Kernels, dispatcher: Dispatcher) -> nn.Module:
    return MLP(shape, kernels) if shape.num_experts is None else MoE(shape, dispatcher, kernels)


def _by_layer(statistics: Sequence[RouterStatistics]) -> dict[str, Tensor]:
    if not statistics:
        return {}
    return {
        "expert_counts_LE": torch.stack([of_layer.counts_E for of_layer in statistics]),
        "probability_sums_LE": torch.stack([of_layer.probability_sums_E for of_layer in statistics]),
        "z_sums_L": torch.stack([of_layer.z_sum for of_layer in statistics]),
    }
