"""One rank of the noise scale's tests: watches an update under each engine and writes down what it saw.

    noise_worker.py OUT MODEL PRECISION ENGINE...

OUT/ENGINE-RANKS.json holds what two updates told; OUT/alone.json (of one rank) the squared norm of every
micro-batch's own gradient, each computed by itself, and the norm of their sum.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from engine_worker import CPU, LENGTH, LR, MODELS, MUP, SEQUENCES, batches, build, shape_of, state_of

from megatron_lite.model.loss import balance_loss, z_loss
from megatron_lite.model.options import ModelOptions
from pretrain.data.batch import Batch
from pretrain.engine.base import Engine
from pretrain.engine.micro_norms import MicroNorms
from pretrain.loop.build import build_model, initial_state
from pretrain.ranks import Ranks, join, total


def objective_of(forward, batch: Batch, num_valid: int, model: ModelOptions) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """The share of one micro-batch, as the loop makes it (with even use of the experts)."""
    output = forward(batch.tokens_T, batch.targets_T, batch.documents)
    share = output["loss_sum"] / num_valid
    if model.num_local_experts:
        even = torch.full_like(output["expert_counts_LE"], 1 / model.num_local_experts, dtype=torch.float32)
        share = share + model.router_aux_loss_coef * balance_loss(
            even, output["probability_sums_LE"], SEQUENCES * LENGTH
        )
        share = share + model.router_z_loss_coef * z_loss(output["z_sums_L"], SEQUENCES * LENGTH)
    return share


def watched(engine: Engine, decoder_parameters, mine: list[Batch], model: ModelOptions) -> dict[str, object]:  # type: ignore[no-untyped-def]
    num_valid = int(total(torch.tensor(sum(batch.num_valid for batch in mine))))
    seen = []
    for _ in range(2):  # a second update finds nothing of the first
        engine.accumulate(len(mine))
        norms = MicroNorms(decoder_parameters, CPU)
        for batch in mine:
            objective = objective_of(engine.forward, batch, num_valid, model)
            with norms.watching(objective, batch.num_valid):
                engine.backward(objective)
        sums = total(norms.sums)
        norm = engine.gradient_norm() if hasattr(engine, "gradient_norm") else None
        made = engine.step(LR)
        seen.append({"sums": sums.tolist(), "norm": made if norm is None else norm})
    changed = sum(float(tensor.double().abs().sum()) for tensor in state_of(engine).values())
    return {"updates": seen, "num_valid": num_valid, "state": changed}


def alone(model: ModelOptions, precision: str, every: list[Batch]) -> dict[str, object]:
    """Every micro-batch's gradient with nothing accumulated, and that of the whole batch."""
    decoder = build_model(shape_of(model), precision, CPU)
    state = dict(initial_weights(model))
    for name, parameter in decoder.named_parameters():
        parameter.data.copy_(state[name])
    num_valid = sum(batch.num_valid for batch in every)
    squares, whole = [], {}
    for batch in every:
        decoder.zero_grad(set_to_none=True)
        objective_of(decoder, batch, num_valid, model).backward()
        gradients = {
            name: one.grad.double() for name, one in decoder.named_parameters() if one.grad is not None
        }
        squares.append(float(sum(one.square().sum() for one in gradients.values())))
        whole = {name: whole.get(name, 0) + one for name, one in gradients.items()}
    norm = float(sum(one.square().sum() for one in whole.values())) ** 0.5
    return {"squares": squares, "valid": [batch.num_valid for batch in every], "norm": norm}


def initial_weights(model: ModelOptions):  # type: ignore[no-untyped-def]
    read = initial_state(shape_of(model), MUP, seed=0)
    for name, _ in build_model(shape_of(model), "fp32", CPU).named_parameters():
        yield name, read("weight", name)


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
    model, folder = MODELS[name], Path(out)
    mine = batches(0, ranks)
    if size == 1:
        (folder / "alone.json").write_text(json.dumps(alone(model, precision, mine)))
    for one in engines:
        engine = build(one, model, precision, ranks)
        engine.load(initial_state(shape_of(model), MUP, seed=0), updates=0)
        parameters = getattr(engine, "parameters", None) or engine.working  # type: ignore[attr-defined]
        seen = watched(engine, parameters.values(), mine, model)
        if ranks.first:
            (folder / f"{one}-{size}.json").write_text(json.dumps(seen))
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
