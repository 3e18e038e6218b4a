"""A rank's own part of what every rank holds whole, so that each number is looked at by one rank."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def own_part(whole: Tensor) -> Tensor:
    """This rank's part of a tensor that all ranks hold alike: flat, empty where there is less than ranks."""
    size, rank = dist.get_world_size(), dist.get_rank()
    each = -(-whole.numel() // size)
    return whole.detach().flatten()[rank * each : (rank + 1) * each]
