"""One rank of the engine tests: trains a tiny model through an engine and writes down what it saw.

    engine_worker.py OUT MODEL PRECISION ENGINE... [--from CHECKPOINT]

ENGINE is `torch` or a ZeRO stage. For each, OUT/ENGINE.pt holds losses, norms, and the state after the first
and the last update (first rank only), and OUT/ENGINE/ a checkpoint.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megatron_lite.model.loss import IGNORE
from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.batch import BatchOptions
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine
from pretrain.engine.deepspeed_config import deepspeed_config
from pretrain.engine.deepspeed_engine import DeepSpeedEngine
from pretrain.engine.options import DeepSpeedOptions
from pretrain.engine.torch_engine import TorchEngine
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.step import StepResult, train_step
from pretrain.ranks import Ranks, join

VOCABULARY = 96
SEQUENCES, LENGTH, MICRO = 8, 16, 2
STEPS = 3
LR = 0.01
END = 3
# hidden 60 and 3 heads: nothing divides evenly into 2 or 3 partitions, so that padding is at work
DENSE = {
    "hidden_size": 60,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "intermediate_size": 44,
}
MOE = DENSE | {
    "architecture": "granitemoe",
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "balance_scope": "lagged",
}
MODELS = {"dense": ModelOptions(**DENSE), "moe": ModelOptions(**MOE)}
MUP = MupOptions(base_width=30, weight_decay_rule="scaled")
OPTIMIZER = AdamWOptions(clip=0.4)
COUNTS = [[7, 1, 4, 2, 2], [3, 3, 3, 3, 4]]
CPU = torch.device("cpu")


def shape_of(model: ModelOptions) -> ModelShape:
    return resolve_shape(model, MUP, VOCABULARY)


def zero_of(name: str) -> DeepSpeedOptions:
    """DeepSpeed's options of an engine such as `2`, or `2-offload` with its optimizer on the CPU."""
    stage, *offload = name.split("-")
    zero: dict[str, Any] = {"stage": int(stage)}
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return DeepSpeedOptions.model_validate({"zero_optimization": zero, "zero_force_ds_cpu_optimizer": False})


def build(name: str, model: ModelOptions, precision: str, ranks: Ranks) -> Engine:
    shape = shape_of(model)
    expected = groups(shape, MUP, OPTIMIZER.weight_decay)
    decoder = build_model(shape, precision, CPU)
    if name == "torch":
        return TorchEngine(decoder, expected, OPTIMIZER)
    json_config = deepspeed_config(
        zero_of(name),
        batch=BatchOptions(sequences=SEQUENCES, sequence_length=LENGTH, micro_sequences=MICRO),
        optimizer=OPTIMIZER,
        precision=precision,
        micro_steps=SEQUENCES // MICRO // ranks.size,
        num_ranks=ranks.size,
    )
    return DeepSpeedEngine(decoder, expected, OPTIMIZER, json_config, ranks.local_rank)


def batches(step: int, ranks: Ranks) -> list[Batch]:
    """This rank's micro-batches; their counts of valid targets differ, since end tokens predict nothing."""
    rows = np.random.default_rng(step).integers(0, VOCABULARY, (SEQUENCES, LENGTH + 1))
    rows[: SEQUENCES // 2, 5:9] = END
    per_rank = SEQUENCES // MICRO // ranks.size
    return [
        batch_of(rows[(m * ranks.size + ranks.rank) * MICRO :][:MICRO], END, document_mask=True)
        for m in range(per_rank)
    ]


def step(engine: Engine, model: ModelOptions, micro_batches: list[Batch], lr: float) -> StepResult:
    return train_step(
        engine,
        micro_batches,
        lr=lr,
        model=model,
        previous_counts=COUNTS if model.num_local_experts else None,
        device=CPU,
        stop=False,
    )


def state_of(engine: Engine) -> dict[str, torch.Tensor]:
    return {f"{kind} {name}": tensor.to("cpu", copy=True) for kind, name, tensor in engine.state()}


def observe(engine: Engine, model: ModelOptions, ranks: Ranks, first_step: int) -> dict[str, Any]:
    """Train a few updates and note everything."""
    results, after_first = [], {}
    for k in range(first_step, first_step + STEPS):
        results.append(step(engine, model, batches(k, ranks), LR * (k + 1)))
        after_first = after_first or state_of(engine)
    return {
        "losses": [result.loss for result in results],
        "norms": [result.grad_norm for result in results],
        "balance": [result.balance_loss or 0.0 for result in results],
        "after_first": after_first,
        "after_last": state_of(engine),
    }


def behave(engine: Engine, model: ModelOptions, ranks: Ranks) -> dict[str, Any]:
    """What one update from zero moments does, with a gradient and without one."""
    before = state_of(engine)
    step(engine, model, batches(0, ranks), LR)
    with_gradient = state_of(engine)
    engine.load(initial_state(shape_of(model), MUP, seed=0), updates=0)
    nothing = batches(0, ranks)
    for batch in nothing:
        batch.targets_T.fill_(IGNORE)
    no_balance = model.model_copy(update={"router_aux_loss_coef": 0.0, "router_z_loss_coef": 0.0})
    step(engine, no_balance, nothing, LR)
    return {"before": before, "with_gradient": with_gradient, "without": state_of(engine)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("model")
    parser.add_argument("precision")
    parser.add_argument("engines", nargs="+")
    parser.add_argument("--from", dest="checkpoint", type=Path)
    parser.add_argument("--behave", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ranks = Ranks(
        rank=int(os.environ["RANK"]),
        size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["RANK"]),
        local_size=int(os.environ["WORLD_SIZE"]),
        address=os.environ["MASTER_ADDR"],
        port=int(os.environ["MASTER_PORT"]),
    )
    join(ranks, CPU)
    model = MODELS[options.model]
    shape = shape_of(model)
    expected = groups(shape, MUP, OPTIMIZER.weight_decay)
    for name in options.engines:
        engine = build(name, model, options.precision, ranks)
        audit(expected, engine.groups())
        checkpoint = Checkpoint(options.checkpoint) if options.checkpoint else None
        first = checkpoint.position.step if checkpoint else 0
        engine.load(checkpoint.tensor if checkpoint else initial_state(shape, MUP, seed=0), updates=first)
        audit(expected, engine.groups())
        seen = behave(engine, model, ranks) if options.behave else observe(engine, model, ranks, first)
        position = Position(step=first + STEPS)
        save_checkpoint(options.out / name, engine, position, {}, first_rank=ranks.first)
        if ranks.first:
            torch.save(seen, options.out / f"{name}.pt")
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
