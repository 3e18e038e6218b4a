"""Load a checkpoint into the DeepSpeed engine, and tell what was opened, executed or unpickled meanwhile.

    python loading_worker.py CHECKPOINT MARKER

Prints a JSON list of audit events. MARKER: a path that is looked for before and after, for strace.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[2] / "distributed"))

import torch

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import resolve_shape
from megatron_lite.mup.groups import groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.config.schema import BatchOptions
from pretrain.engine.deepspeed_config import deepspeed_config
from pretrain.engine.deepspeed_engine import DeepSpeedEngine
from pretrain.engine.options import DeepSpeedOptions
from pretrain.loop.build import build_model, initial_state
from pretrain.ranks import Ranks, join

WATCHED = (
    "open",
    "exec",
    "compile",
    "pickle.find_class",
    "marshal.loads",
    "subprocess.Popen",
    "os.exec",
    "os.system",
)
ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="", port=0)
CPU = torch.device("cpu")
MODEL = ModelOptions(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=64
)
MUP, OPTIMIZER = MupOptions(), AdamWOptions()


def engine(stage: int) -> tuple[Any, Any]:
    shape = resolve_shape(MODEL, MUP, 64)
    built = DeepSpeedEngine(
        build_model(shape, "fp32", CPU),
        groups(shape, MUP, OPTIMIZER.weight_decay),
        OPTIMIZER,
        deepspeed_config(
            DeepSpeedOptions.model_validate({"zero_optimization": {"stage": stage}}),
            batch=BatchOptions(sequences=1, sequence_length=16, micro_sequences=1),
            optimizer=OPTIMIZER,
            precision="fp32",
            micro_steps=1,
            num_ranks=1,
        ),
        0,
    )
    return built, initial_state(shape, MUP, seed=0)


def main() -> None:
    folder, marker = Path(sys.argv[1]), Path(sys.argv[2])
    join(ALONE, CPU)
    built, first = engine(stage=1)
    built.load(first, updates=0)
    if not folder.exists():
        save_checkpoint(folder.parent, built, Position(step=int(folder.name[5:])), {}, first_rank=True)
    other = folder.with_name("step_00000099")  # so that what loading imports is imported
    save_checkpoint(folder.parent, built, Position(step=99), {}, first_rank=True)
    checkpoint = Checkpoint(other)
    checkpoint.verify()
    built.load(checkpoint.tensor, updates=0)
    events: list[list[str]] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in WATCHED:
            events.append([event, str(arguments[0]) if arguments else ""])

    sys.addaudithook(hook)
    marker.exists()
    checkpoint = Checkpoint(folder)
    checkpoint.verify()
    built.load(checkpoint.tensor, updates=checkpoint.position.step)
    marker.exists()
    watching = False
    print(json.dumps(events), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
