"""One rank of the tests of whole weights: reads with them between updates, and trains on.

    whole_worker.py OUT MODEL PRECISION ENGINE...

OUT/ENGINE-RANK.pt holds what was read between two updates, the weights that were seen, and the state after
the second update with and without having read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from engine_worker import CPU, LR, MODELS, MUP, VOCABULARY, batches, build, shape_of, state_of, step

from megatron_lite.model.documents import documents
from megatron_lite.model.options import ModelOptions
from pretrain.engine.base import Engine
from pretrain.loop.build import initial_state
from pretrain.ranks import Ranks, join


def read(engine: Engine, rank: int) -> dict[str, Any]:
    """The logits of texts of two lengths, not the same on every rank, and the weights themselves."""
    seen: dict[str, Any] = {}
    with engine.whole_weights() as model:
        assert not model.training
        for length in (5, 11 + rank):
            row = torch.arange(length)[None] * 7 % VOCABULARY
            logits_TV = model.logits(row[0], documents(row, None))
            assert not logits_TV.requires_grad
            seen[f"logits {length}"] = logits_TV
        seen |= {f"weight {name}": weight.detach().clone() for name, weight in model.named_parameters()}
    assert all(weight.numel() == 0 for weight in model.parameters()), "nothing holds the memory any longer"
    return seen


def updated(engine: Engine, model: ModelOptions, ranks: Ranks, *, reading: bool) -> dict[str, Any]:
    """Two updates, with a look at the weights between them or without."""
    engine.load(initial_state(shape_of(model), MUP, seed=0), updates=0)
    step(engine, model, batches(0, ranks), LR)
    seen = read(engine, ranks.rank) if reading else {}
    step(engine, model, batches(1, ranks), LR)
    if reading:
        read(engine, ranks.rank)  # a second time: what the first left behind is in nobody's way
    return {"seen": seen, "after": state_of(engine)}


def main() -> None:
    out, name, precision, *engines = sys.argv[1:]
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
    model = MODELS[name]
    for kind in engines:
        engine = build(kind, model, precision, ranks)
        without = updated(engine, model, ranks, reading=False)
        with_reading = updated(engine, model, ranks, reading=True)
        again = updated(engine, model, ranks, reading=False)
        facts = {"without": without["after"], "with": with_reading["after"], "again": again["after"]}
        torch.save(facts | {"seen": with_reading["seen"]}, Path(out) / f"{kind}-{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
