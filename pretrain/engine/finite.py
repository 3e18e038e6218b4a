"""Whether tensors of all ranks hold nothing but numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pretrain.ranks import total


def all_finite(tensors: Iterable[Tensor], device: torch.device) -> bool:
    """Of this rank's tensors, and of every other's. Collective over `device`."""
    bad = sum(int(not torch.isfinite(tensor).all()) for tensor in tensors)
    return int(total(torch.tensor(bad, device=device))) == 0
