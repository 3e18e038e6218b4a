"""A rank whose weights are those of all ranks, but for one bit where it is the odd one.

replica_rank.py ODD     ODD: a rank, or none
"""

from __future__ import annotations

import os
import sys

import torch

from pretrain.guard.replicas import Corrupt, check_replicas
from pretrain.ranks import Ranks, join


def main() -> int:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    place = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address=address, port=port)
    join(place, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    weights = {
        "embedding": torch.randn(50, 8, generator=generator),
        "layers.0.up": torch.randn(8, 24, generator=generator).bfloat16(),
        "layers.1.up": torch.randn(24, 8, generator=generator).bfloat16().t(),  # not contiguous
    }
    check_replicas(weights, 6)
    if sys.argv[1] == str(rank):
        weights["layers.0.up"].view(torch.int16)[3, 5] ^= 1
    try:
        check_replicas(weights, 7)
    except Corrupt as failure:
        print(failure, flush=True)
        return 3
    return 0


if __name__ == "__main__":
    os._exit(main())
