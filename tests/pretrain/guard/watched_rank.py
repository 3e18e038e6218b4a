"""A rank without a model: passes a barrier again and again under a watchdog, until its deed.

watched_rank.py FOLDER SECONDS DEED     DEED: RANK:stop, RANK:hang (both at move 5) or none
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from pretrain.guard.health import HealthOptions
from pretrain.guard.lost import is_lost_peer
from pretrain.guard.watchdog import AGAIN, Watchdog
from pretrain.ranks import Ranks, join


def main() -> int:
    folder, seconds, deed = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    ranks = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address=address, port=port)
    store = join(ranks, torch.device("cpu"))
    watchdog = Watchdog(HealthOptions(watchdog_seconds=seconds), ranks, store, folder)
    for move in range(1, 12):
        watchdog.at("read", move)
        time.sleep(0.2)
        if move == 5 and deed == f"{rank}:stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if move == 5 and deed == f"{rank}:hang":
            time.sleep(600)
        watchdog.at("update", move)
        try:
            dist.barrier()
        except RuntimeError as error:
            if not is_lost_peer(error):
                raise
            print(f"rank {rank} lost another: {watchdog.missing()}", flush=True)
            return AGAIN
    watchdog.close()
    time.sleep(1.5 * seconds)  # nobody watches any more
    return 0


if __name__ == "__main__":
    os._exit(main())
