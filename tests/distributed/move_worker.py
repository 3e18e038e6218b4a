"""One rank that loads a checkpoint under each ZeRO stage and saves it: move_worker.py CHECKPOINT OUT."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from engine_worker import CPU, MODELS, MUP, OPTIMIZER, shape_of

from megatron_lite.mup.groups import groups
from megatron_lite.schedules.batch import BatchOptions
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.save import save_checkpoint
from pretrain.engine.deepspeed_config import deepspeed_config
from pretrain.engine.deepspeed_engine import DeepSpeedEngine
from pretrain.engine.options import DeepSpeedOptions
from pretrain.loop.build import build_model
from pretrain.ranks import Ranks, join


def main() -> None:
    checkpoint, out = Checkpoint(Path(sys.argv[1])), Path(sys.argv[2])
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    ranks = Ranks(
        rank=rank,
        size=size,
        local_rank=rank,
        local_size=size,
        address=os.environ["MASTER_ADDR"],
        port=int(os.environ["MASTER_PORT"]),
    )
    join(ranks, CPU)
    shape = shape_of(MODELS["dense"])
    for stage in (1, 2, 3):
        engine = DeepSpeedEngine(
            build_model(shape, "fp32", CPU),
            groups(shape, MUP, OPTIMIZER.weight_decay),
            OPTIMIZER,
            deepspeed_config(
                DeepSpeedOptions.model_validate({"zero_optimization": {"stage": stage}}),
                batch=BatchOptions(sequences=size, sequence_length=16, micro_sequences=1),
                optimizer=OPTIMIZER,
                precision="fp32",
                micro_steps=1,
                num_ranks=size,
            ),
            ranks.local_rank,
        )
        engine.load(checkpoint.tensor, updates=checkpoint.position.step)
        save_checkpoint(out / str(stage), engine, checkpoint.position, {}, first_rank=ranks.first)
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
