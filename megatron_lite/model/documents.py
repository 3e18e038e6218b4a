"""Where documents begin and end in a packed batch: attention and positions know nothing beyond them.

Shapes: B sequences, S tokens of a sequence, T = B·S tokens in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Documents that lie one after another; every token belongs to one."""

    boundaries: tuple[int, ...]  # 0, then the end of each document; on the host, where loops read it
    positions_T: Tensor  # of a token in its document
    cu_lengths: Tensor  # the boundaries as int32, as flash-attn takes them
    max_length: int
    length_bound: int  # no document is longer, in any batch of this shape: compiled code does not follow it
    real_T: Tensor | None = None  # False at padding, which is a document too; None: there is none

    def to(self, device: torch.device | str) -> Documents:
        """The same with its tensors on `device`."""
        return replace(
            self,
            positions_T=self.positions_T.to(device, non_blocking=True),
            cu_lengths=self.cu_lengths.to(device, non_blocking=True),
            real_T=None if self.real_T is None else self.real_T.to(device, non_blocking=True),
        )


def documents(tokens_BS: Tensor, end_id: int | None) -> Documents:
    """The documents of a batch: a sequence each, cut after every `end_id` as well unless that is None.

    To be computed where the tokens are read, on the host: on a GPU it would wait for the device.
    """
    assert tokens_BS.device.type == "cpu", "documents() reads the tokens on the host"
    tokens = tokens_BS.numpy()  # of so few numbers, torch's own operations take five times as long
    starts_BS = np.zeros(tokens.shape, dtype=bool)
    starts_BS[:, 0] = True
    if end_id is not None:
        np.equal(tokens[:, :-1], end_id, out=starts_BS[:, 1:])
    bounds = np.append(np.flatnonzero(starts_BS), tokens.size)
    lengths = np.diff(bounds)
    positions_T = np.arange(tokens.size) - np.repeat(bounds[:-1], lengths)
    return Documents(
        boundaries=tuple(bounds.tolist()),
        positions_T=torch.from_numpy(positions_T),
        cu_lengths=torch.from_numpy(bounds.astype(np.int32)),
        max_length=int(lengths.max()),
        length_bound=tokens_BS.shape[1],
    )


def in_a_row(lengths: Sequence[int]) -> Documents:
    """Documents of these lengths, one after another; on the host."""
    boundaries = (0, *accumulate(lengths))
    return Documents(
        boundaries=boundaries,
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        cu_lengths=torch.tensor(boundaries, dtype=torch.int32),
        max_length=max(lengths),
        length_bound=max(lengths),
    )
