"""Reading on: what attention needs of earlier tokens is kept, so that one more costs the work of one.

The blocks are the decoder's own, with its own norms, channel mixers and products; only their token mixer is
another one, which keeps keys and values. Sequences of any lengths are read together without padding.

Shapes: B sequences, T tokens in a row, H hidden width, V vocabulary, N query heads, K key and value heads,
C tokens that there is room for, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megatron_lite.kernels.attention_cached import attention_cached
from megatron_lite.kernels.precision import widen
from megatron_lite.model.attention import Attention
from megatron_lite.model.block import Block
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import Documents, in_a_row
from megatron_lite.model.moe import MoE
from megatron_lite.model.rope import Rotation, rotation
from megatron_lite.model.shape import ModelShape

ROOM = 64  # tokens that the cache grows by at least: it is copied when it grows


@dataclass(frozen=True, kw_only=True)
class _Passage:
    """The tokens that are read now: of each sequence its first ones, or one more."""

    sequence_T: Tensor  # whose it is
    positions_T: Tensor
    documents: Documents | None  # None: one token a sequence, in order
    remembered_BC: Tensor | None  # for those: which places hold a token; None: all of them
    length: int  # of the longest sequence, these tokens included
    num_sequences: int
    real_T: None = None  # no padding


class Reader:
    """Sequences that a decoder reads, and can go on reading. Use it without gradients.

    No more than `model.shape.max_positions` tokens of a sequence can be remembered.
    """

    def __init__(self, model: Decoder) -> None:
        self._model = model
        self._lengths: list[int] = []
        self._mixers: list[_Remembering] = []
        self._blocks: list[Block] = []
        for block in model.layers:
            assert isinstance(block, Block)
            self._mixers.append(_Remembering(block.mixer))
            self._blocks.append(_with_mixer(block, self._mixers[-1], model.shape))

    def begin(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Read the beginnings of new sequences, a token at least of each; the logits behind them, BV fp32."""
        lengths = [len(sequence) for sequence in sequences]
        assert 0 < min(lengths) <= max(lengths) <= self._model.shape.max_positions, lengths
        self._lengths = lengths
        for mixer in self._mixers:
            mixer.forget()
        device = self._model.embedding.device
        row = in_a_row(lengths)
        owners = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        passage = _Passage(
            sequence_T=owners.to(device),
            positions_T=row.positions_T.to(device),
            documents=row.to(device),
            remembered_BC=None,
            length=max(lengths),
            num_sequences=len(lengths),
        )
        h_TH = self._through([token for sequence in sequences for token in sequence], passage)
        return self._logits(h_TH[row.cu_lengths[1:].to(device).long() - 1])

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of each sequence; the logits behind it, BV fp32."""
        assert len(tokens) == len(self._lengths), "a token a sequence"
        positions = self._lengths
        self._lengths = [length + 1 for length in positions]
        longest = max(self._lengths)
        assert longest <= self._model.shape.max_positions, "more than the model has positions for"
        device = self._model.embedding.device
        positions_B = torch.tensor(positions, device=device)
        remembered_BC = torch.arange(longest, device=device) <= positions_B[:, None]
        passage = _Passage(
            sequence_T=torch.arange(len(tokens), device=device),
            positions_T=positions_B,
            documents=None,
            remembered_BC=None if min(self._lengths) == longest else remembered_BC,
            length=longest,
            num_sequences=len(tokens),
        )
        return self._logits(self._through(tokens, passage))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these sequences alone, in this order."""
        if list(rows) != list(range(len(self._lengths))):
            self._lengths = [self._lengths[row] for row in rows]
            for mixer in self._mixers:
                mixer.keep(rows)

    def _through(self, tokens: Sequence[int], passage: _Passage) -> Tensor:
        model = self._model
        tokens_T = torch.tensor(tokens, device=model.embedding.device)
        turn = rotation(passage.positions_T, model.shape.head_dim, model.shape.rope_theta)
        h_TH = model.embed(tokens_T)
        for block in self._blocks:
            h_TH, _ = block(h_TH, turn, passage)
        return h_TH

    def _logits(self, h_BH: Tensor) -> Tensor:
        return self._model.logits_of(self._model.norm(h_BH))


class _Remembering(nn.Module):
    """The attention of a decoder as a token mixer that keeps the keys and values it has seen."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        assert isinstance(attention, Attention), "another mixer remembers other things"
        self.attention = attention
        self._both: Tensor | None = None  # 2BKCD: keys, then values

    def forward(self, x_TH: Tensor, turn: Rotation, passage: _Passage) -> Tensor:
        """One output a token of the passage, which is remembered."""
        q_TND, k_TKD, v_TKD = self.attention.project(x_TH, turn)
        k_BKCD, v_BKCD = self._remember(torch.stack([k_TKD, v_TKD]), passage)
        if passage.documents is None:
            scale = self.attention.scale
            mixed_TND = attention_cached(q_TND, k_BKCD, v_BKCD, passage.remembered_BC, scale)
        else:
            mixed_TND = self.attention.mix(q_TND, k_TKD, v_TKD, passage.documents)
        return self.attention.output(mixed_TND.flatten(1))

    def forget(self) -> None:
        """Begin with nothing."""
        self._both = None

    def keep(self, rows: Sequence[int]) -> None:
        """Remember these sequences alone."""
        if self._both is not None:
            self._both = self._both[:, torch.tensor(rows, device=self._both.device)]

    def _remember(self, both_2TKD: Tensor, passage: _Passage) -> Tensor:
        """All keys and values with those of the passage, up to its longest sequence."""
        if self.attention.kernels.wide_products:
            both_2TKD = widen(both_2TKD)  # once, and not at every token
        if self._both is None or self._both.shape[3] < passage.length:
            self._grow(both_2TKD, passage)
        assert self._both is not None
        self._both[:, passage.sequence_T, :, passage.positions_T] = both_2TKD.transpose(0, 1)
        return self._both[:, :, :, : passage.length]

    def _grow(self, both_2TKD: Tensor, passage: _Passage) -> None:
        before, room = self._both, -(-passage.length // ROOM) * ROOM
        if before is None:
            before = both_2TKD.new_zeros(2, passage.num_sequences, both_2TKD.shape[2], 0, both_2TKD.shape[3])
        # zeros behind a sequence's end: attention gives them no weight, but nothing times NaN is NaN
        self._both = F.pad(before, (0, 0, 0, room - before.shape[3]))


class _Silent(nn.Module):
    """Experts as a channel mixer that counts nothing."""

    def __init__(self, moe: MoE) -> None:
        super().__init__()
        self.moe = moe

    def forward(self, x_TH: Tensor, real_T: None) -> tuple[Tensor, None]:
        """One output a token."""
        return self.moe.output(x_TH), None


def _with_mixer(block: Block, mixer: nn.Module, shape: ModelShape) -> Block:
    """The block with another token mixer; all else is the block's own."""
    with torch.device("meta"):
        channel = _Silent(block.channel) if isinstance(block.channel, MoE) else block.channel
        made = Block(shape, mixer=mixer, channel=channel)
    made.mixer_norm, made.channel_norm = block.mixer_norm, block.channel_norm
    return made
