"""Text-like tokens from nothing but a seed: frequencies by Zipf, and each token fond of a few successors.

Shapes: B sequences, S tokens of a sequence, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_SUCCESSORS = 4
LOYALTY = 0.7  # how often a token is followed by one of its own successors


class Batch(NamedTuple):
    """Sequences and, shifted by one, what they predict."""

    tokens_BS: Tensor
    targets_BS: Tensor


def text_like(vocab_size: int, sequences: int, sequence_length: int, seed: int = 0) -> Batch:
    """The same tokens for the same numbers, on the host."""
    generator = torch.Generator().manual_seed(seed)
    frequencies_V = 1.0 / (torch.arange(vocab_size) + 2.0)

    def draw(num: int) -> Tensor:
        return torch.multinomial(frequencies_V, num, replacement=True, generator=generator)

    successors = draw(vocab_size * NUM_SUCCESSORS).view(vocab_size, NUM_SUCCESSORS)
    columns = [draw(sequences)]
    for _ in range(sequence_length):
        which = torch.randint(NUM_SUCCESSORS, (sequences,), generator=generator)
        loyal = torch.rand(sequences, generator=generator) < LOYALTY
        columns.append(torch.where(loyal, successors[columns[-1], which], draw(sequences)))
    text = torch.stack(columns, dim=1)
    return Batch(text[:, :-1].contiguous(), text[:, 1:].contiguous())
