"""One rank of the tests of a batch that changes: updates of different numbers of micro-steps through engines.

    changing_worker.py OUT MODEL PRECISION MICRO_BATCHES ENGINE...

MICRO_BATCHES: how many the global batch of each update has, such as 2,2,6. ENGINE is `torch` or a ZeRO stage,
with `-offload` after it where the optimizer is to live on the CPU. OUT/ENGINE.pt holds what was seen.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_worker import (
    COUNTS,
    CPU,
    END,
    LENGTH,
    LR,
    MICRO,
    MODELS,
    MUP,
    VOCABULARY,
    shape_of,
    state_of,
    zero_of,
)

from megatron_lite.model.options import ModelOptions
from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import groups
from megatron_lite.optim.options import AdamWOptions, Beta2Options
from megatron_lite.optim.second_moment import second_moment
from megatron_lite.schedules.batch import BatchOptions
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine
from pretrain.engine.deepspeed_config import deepspeed_config
from pretrain.engine.deepspeed_engine import DeepSpeedEngine
from pretrain.engine.torch_engine import TorchEngine
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.step import train_step
from pretrain.ranks import Ranks, join

# a clip that some of the updates reach and some do not; eps large enough to matter, as its rescaling must
OPTIMIZER = AdamWOptions(clip=0.65, eps=1e-5, adam_beta2=Beta2Options(half_life_tokens=400))


def build(
    name: str,
    model: ModelOptions,
    precision: str,
    micro_steps: int,
    ranks: Ranks,
    optimizer: AdamWOptions = OPTIMIZER,
) -> Engine:
    shape = shape_of(model)
    expected = groups(shape, MUP, optimizer.weight_decay)
    decoder = build_model(shape, precision, CPU)
    if name == "torch":
        return TorchEngine(decoder, expected, optimizer)
    json_config = deepspeed_config(
        zero_of(name),
        batch=BatchOptions(sequences=MICRO * ranks.size, sequence_length=LENGTH, micro_sequences=MICRO),
        optimizer=optimizer,
        precision=precision,
        micro_steps=micro_steps,
        num_ranks=ranks.size,
    )
    return DeepSpeedEngine(decoder, expected, optimizer, json_config, ranks.local_rank)


def batches(update: int, micro_batches: int, ranks: Ranks) -> list[Batch]:
    """This rank's share of an update's micro-batches, which are the same however many ranks there are."""
    rows = np.random.default_rng(update).integers(4, VOCABULARY, (micro_batches, MICRO, LENGTH + 1))
    rows[::2, :, 5:9] = END
    return [batch_of(micro, END, document_mask=True) for micro in rows[ranks.rank :: ranks.size]]


def observe(engine: Engine, model: ModelOptions, micro_batches: list[int], ranks: Ranks) -> dict[str, Any]:
    """Train, and note everything after each update."""
    seen: dict[str, Any] = {"clip": OPTIMIZER.clip, "losses": [], "norms": [], "states": [], "rates": []}
    sizes = [number * MICRO * LENGTH for number in micro_batches]
    for update, number in enumerate(micro_batches):
        result = train_step(
            engine,
            batches(update, number, ranks),
            lr=LR * (update + 1),
            model=model,
            previous_counts=COUNTS if model.num_local_experts else None,
            device=CPU,
            stop=False,
            second_moment=second_moment(
                OPTIMIZER, step=update + 1, tokens_before=sum(sizes[:update]), batch_tokens=sizes[update]
            ),
        )
        audit(groups(shape_of(model), MUP, OPTIMIZER.weight_decay), engine.groups())
        seen["losses"].append(result.loss)
        seen["norms"].append(result.grad_norm)
        seen["states"].append(state_of(engine))
        seen["rates"].append(engine.rates())
    return seen


def main() -> None:
    out, name, precision, listed, *engines = sys.argv[1:]
    torch.set_num_threads(1)
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
    model, micro_batches = MODELS[name], [int(number) for number in listed.split(",")]
    assert all(number % size == 0 for number in micro_batches)
    for engine_name in engines:
        engine = build(engine_name, model, precision, micro_batches[0] // size, ranks)
        engine.load(initial_state(shape_of(model), MUP, seed=0), updates=0)
        seen = observe(engine, model, micro_batches, ranks)
        if ranks.first:
            Path(out).mkdir(parents=True, exist_ok=True)
            torch.save(seen, Path(out) / f"{engine_name}.pt")
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
