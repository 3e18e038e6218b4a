"""A few updates of a config on this device, on made-up documents: speed, memory against the plan, kernels.

    python -m benchmarks.gpu.trial --config 3b_moe batch.sequences=8 --updates 6

Prints one JSON value. The updates are the run's own (engine, kernels, step); only the data is made up, and
the weights are drawn on the device, so that nothing but computing is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megatron_lite.model.parameters import flops_per_token, parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.rules import rule
from pretrain.config.derive import micro_steps, model_shape
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine, Kind, StateReader
from pretrain.errors import UserError
from pretrain.loop.build import DTYPES, build_engine, kernel_choice
from pretrain.loop.step import train_step
from pretrain.memory import memory
from pretrain.monitor.peak import peak_flops
from pretrain.ranks import Ranks, join

END_ID = 1
MEAN_DOCUMENT_TOKENS = 1000
ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)


def trial(config: Config, updates: int, warm_up: int) -> dict[str, Any]:
    """The facts of `updates` updates after `warm_up` others that set up and compile."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    shape = model_shape(config)
    engine = build_engine(config, shape, ALONE, device)
    engine.load(drawn_state(config, shape, device), updates=0)
    batches = _batches(config, shape)
    begun = time.perf_counter()
    losses = [_update(engine, config, next(batches), device)[0] for _ in range(warm_up)]
    setting_up = time.perf_counter() - begun
    timed = [_update(engine, config, next(batches), device) for _ in range(updates)]
    seconds = statistics.median(second for _, second in timed)
    per_second = config.batch.tokens / seconds
    peak = peak_flops(device, DTYPES[config.run.precision])
    flops = flops_per_token(shape, config.batch.sequence_length)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "kernels": kernel_choice(config, device).reasons,
        "updates": updates,
        "seconds_per_update": seconds,
        "spread": [min(s for _, s in timed), max(s for _, s in timed)],
        "warm_up_seconds": setting_up,
        "tokens_per_second": per_second,
        "mfu": None if peak is None else per_second * flops / peak,
        "memory": _memory(config, shape, device),
        "losses": losses + [loss for loss, _ in timed],
    }


def drawn_state(config: Config, shape: ModelShape, device: torch.device) -> StateReader:
    """Weights with the stds of the rules, drawn where they will live."""
    by_name = {parameter.name: parameter for parameter in parameters(shape)}
    generator = torch.Generator(device).manual_seed(config.run.seed)

    def read(kind: Kind, name: str) -> Tensor:
        parameter = by_name[name]
        tensor = torch.zeros(parameter.shape, device=device)
        if kind != "weight":
            return tensor
        std = rule(parameter.role, mup=config.mup, shape=shape, weight_decay=0.0).init_std
        return tensor.fill_(1.0) if std is None else tensor.normal_(0.0, std, generator=generator)

    return read


def _batches(config: Config, shape: ModelShape) -> Iterator[Sequence[Batch]]:
    random = np.random.default_rng(0)
    size = (config.batch.micro_sequences, config.batch.sequence_length + 1)
    while True:
        # squared: frequent and rare tokens, so that there is something to learn
        rows = [
            (random.random(size) ** 2 * (shape.vocab_size - 2)).astype(np.int64) + 2
            for _ in range(micro_steps(config.batch, 1))
        ]
        for row in rows:
            row[random.random(size) < 1 / MEAN_DOCUMENT_TOKENS] = END_ID
        yield [batch_of(row, END_ID, document_mask=config.data.document_mask) for row in rows]


def _update(
    engine: Engine, config: Config, batches: Sequence[Batch], device: torch.device
) -> tuple[float, float]:
    begun = time.perf_counter()
    result = train_step(
        engine,
        batches,
        lr=1e-3,
        batch_tokens=config.batch.tokens,
        model=config.model,
        previous_counts=None,
        device=device,
        stop=False,
    )
    return result.loss, time.perf_counter() - begun  # the result has been waited for


def _memory(config: Config, shape: ModelShape, device: torch.device) -> dict[str, int]:
    facts = {"planned_bytes": memory(config, shape, 1).total}
    if device.type == "cuda":
        facts["peak_allocated_bytes"] = torch.cuda.max_memory_allocated(device)
        facts["peak_reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_intermixed_args()
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    join(ALONE, device)
    try:
        found = trial(load(asked.config, asked.overrides), asked.updates, asked.warm_up)
    except UserError as mistake:
        sys.exit(str(mistake))
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
