"""One rank of the tests of sizes by layer: measures an update under each engine, and the same by itself.

    statistics_worker.py OUT MODEL PRECISION ENGINE...

OUT/ENGINE-RANKS.json holds the statistics of two updates, a hash of the state behind them and of that without
statistics, and how far the weights moved; OUT/direct.json (of one rank) what plain autograd over hooked
modules finds for the first update.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from engine_worker import (
    COUNTS,
    CPU,
    LENGTH,
    LR,
    MODELS,
    MUP,
    SEQUENCES,
    batches,
    build,
    shape_of,
    state_of,
)
from noise_worker import initial_weights, objective_of

from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.loss import IGNORE
from megatron_lite.model.options import ModelOptions
from pretrain.data.batch import Batch
from pretrain.engine.base import Engine
from pretrain.guard.spikes import Rejected
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.layers import Layers
from pretrain.loop.step import train_step
from pretrain.ranks import Ranks, join

State = dict[str, torch.Tensor]
JUDGED = (None, Rejected(measure="loss", value=9.0))


def trained(engine: Engine, model: ModelOptions, ranks: Ranks, *, measured: bool) -> dict[str, Any]:
    """Two updates, the second left out as a spike is."""
    engine.load(initial_state(shape_of(model), MUP, seed=0), updates=0)
    seen, weights = [], weights_of(engine)
    for step in range(2):
        result = train_step(
            engine,
            batches(step, ranks),
            lr=LR,
            model=model,
            previous_counts=COUNTS if model.num_local_experts else None,
            device=CPU,
            stop=False,
            judge=lambda loss, norm: JUDGED[step],  # noqa: B023
            layers=Layers(engine, shape_of(model), CPU) if measured else None,
        )
        if measured:
            assert result.statistics is not None
            seen.append(asdict(result.statistics))
    after = weights_of(engine)
    digest = hashlib.sha256()
    for name, tensor in state_of(engine).items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return {"statistics": seen, "state": digest.hexdigest(), "moved": by_place(difference(after, weights))}


def weights_of(engine: Engine) -> State:
    return {name: tensor.double().cpu().clone() for kind, name, tensor in engine.state() if kind == "weight"}


def difference(one: State, other: State) -> State:
    return {name: one[name] - other[name] for name in one}


def by_place(tensors: State) -> dict[str, float]:
    """Root mean squares by layer, and of both ends."""
    places: dict[str, list[torch.Tensor]] = {}
    for name, tensor in tensors.items():
        place = name.split(".")[1] if name.startswith("layers.") else name
        places.setdefault(place, []).append(tensor.flatten())
    return {place: float(torch.cat(parts).square().mean().sqrt()) for place, parts in places.items()}


def direct(model: ModelOptions, precision: str, every: list[Batch]) -> dict[str, Any]:
    """The first update by hooks on the modules of a plain decoder, all micro-batches on one rank."""
    decoder = build_model(shape_of(model), precision, CPU, Kernels())
    for name, parameter in decoder.named_parameters():
        parameter.data.copy_(dict(initial_weights(model))[name])
    streams: dict[int, list[torch.Tensor]] = {}
    entropies: dict[int, list[torch.Tensor]] = {}
    current: list[Batch] = []
    for number, block in enumerate(decoder.layers):

        def see(_: Any, __: Any, out: Any, number: int = number) -> None:
            streams.setdefault(number, []).append(out[0][current[-1].targets_T != IGNORE].detach().double())

        block.register_forward_hook(see)
        if model.num_local_experts:

            def route(module: Any, inputs: Any, _: Any, number: int = number) -> None:
                logits = inputs[0].float() @ module.weight.detach().float().T
                entropies.setdefault(number, []).append(
                    torch.distributions.Categorical(logits=logits.double()).entropy()
                )

            block.channel.router.register_forward_hook(route)  # type: ignore[union-attr]
    gradients: State = {}
    num_valid = sum(batch.num_valid for batch in every)
    for batch in every:
        current.append(batch)
        decoder.zero_grad(set_to_none=True)
        with_counts(decoder, batch, num_valid, model).backward()
        for name, parameter in decoder.named_parameters():
            if parameter.grad is not None:
                gradients[name] = gradients.get(name, 0) + parameter.grad.double()
    return {
        "activation_rms": [float(torch.cat(parts).square().mean().sqrt()) for parts in streams.values()],
        "router_entropy": [float(torch.cat(parts).mean()) for parts in entropies.values()],
        "gradient_rms": by_place(gradients),
        "weight_rms": by_place(dict(initial_weights(model))),
    }


def with_counts(decoder: Decoder, batch: Batch, num_valid: int, model: ModelOptions) -> torch.Tensor:
    """The objective of a micro-batch under the counts that the updates balance against."""
    from megatron_lite.model.loss import balance_loss, z_loss

    if not model.num_local_experts:
        return objective_of(decoder, batch, num_valid, model)
    output = decoder(batch.tokens_T, batch.targets_T, batch.documents)
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    balance = balance_loss(
        counts / counts.sum(1, keepdim=True), output["probability_sums_LE"], SEQUENCES * LENGTH
    )
    z = z_loss(output["z_sums_L"], SEQUENCES * LENGTH)
    return (
        output["loss_sum"] / num_valid + model.router_aux_loss_coef * balance + model.router_z_loss_coef * z
    )


def main() -> None:
    out, name, precision, *engines = sys.argv[1:]
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    ranks = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address=address, port=port)
    join(ranks, CPU)
    model, folder = MODELS[name], Path(out)
    if size == 1:
        (folder / "direct.json").write_text(json.dumps(direct(model, precision, batches(0, ranks))))
    for one in engines:
        engine = build(one, model, precision, ranks)
        unwatched = trained(engine, model, replace(ranks), measured=False)
        seen = trained(engine, model, ranks, measured=True)
        if ranks.first:
            found = {**seen, "unwatched": unwatched["state"]}
            (folder / f"{one}-{size}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
