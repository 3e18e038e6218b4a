"""Text that a model writes after prompts, on one rank; without a cache, so for short texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from megatron_lite.model.documents import Documents
from pretrain.evaluate.sampling import Sampling, choose

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder


class Codec(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids; a model may have more rows than that."""

    @property
    def end_id(self) -> int:
        """The token that ends a document."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


@torch.inference_mode()
def generate(
    model: Decoder,
    tokenizer: Codec,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """What the model writes after each prompt, the prompt itself left out.

    A text ends before the end token or after `max_tokens`; tokens farther back than the model's positions
    are forgotten. Prompt number i draws from a generator seeded `seed` + i, whatever stands beside it.
    """
    sampling = Sampling(temperature=temperature, top_p=top_p)
    generators = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    # a document follows an end token, so that is what comes before a text without a prompt
    starts = [tokenizer.encode(prompt) or [tokenizer.end_id] for prompt in prompts]
    texts: list[list[int]] = [[] for _ in prompts]
    going_on = list(range(len(prompts)))
    for _ in range(max_tokens):
        if not going_on:
            break
        logits_PV = _next_logits(model, [starts[i] + texts[i] for i in going_on])[:, : tokenizer.vocab_size]
        for i, logits_V in zip(list(going_on), logits_PV, strict=True):
            token = choose(logits_V, sampling, generators[i])
            if token == tokenizer.end_id:
                going_on.remove(i)
            else:
                texts[i].append(token)
    return [tokenizer.decode(text) for text in texts]


def _next_logits(model: Decoder, sequences: Sequence[list[int]]) -> Tensor:
    """The logits after each sequence, a row each; sequences of any lengths lie in one row of documents."""
    device = model.embedding.device
    recent = [sequence[-model.shape.max_positions :] for sequence in sequences]
    tokens_T = torch.tensor([token for sequence in recent for token in sequence], device=device)
    row = _in_a_row([len(sequence) for sequence in recent])
    last_P = row.cu_lengths[1:].long() - 1
    return model.logits(tokens_T, row.to(device))[last_P.to(device)]


def _in_a_row(lengths: Sequence[int]) -> Documents:
    boundaries = (0, *accumulate(lengths))
    return Documents(
        boundaries=boundaries,
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        cu_lengths=torch.tensor(boundaries, dtype=torch.int32),
        max_length=max(lengths),
        length_bound=max(lengths),
    )
