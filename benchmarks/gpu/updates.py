"""A few updates of a small mixture of experts on made-up documents, to the last bit: is a run repeatable?

    python -m benchmarks.gpu.updates --updates 3

Prints one JSON value, losses and gradient norms as hexadecimal, which rounds nothing.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
import torch

from benchmarks.gpu.trial import ALONE, END_ID, drawn_state
from pretrain.config.derive import micro_steps, model_shape
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.data.batch import batch_of
from pretrain.loop.build import build_engine
from pretrain.loop.step import StepResult, train_step
from pretrain.ranks import join

CONFIG, OVERRIDES = "tiny_moe", ("run.precision=bf16",)
DOCUMENT_TOKENS = 100


def updates(config: Config, number: int, device: torch.device) -> list[StepResult]:
    """The results of the first updates, from the seed alone."""
    shape = model_shape(config)
    engine = build_engine(config, shape, ALONE, device)
    engine.load(drawn_state(config, shape, device), updates=0)
    random = np.random.default_rng(0)
    size = (micro_steps(config.batch, 1), config.batch.micro_sequences, config.batch.sequence_length + 1)
    results: list[StepResult] = []
    for _ in range(number):
        rows = random.integers(END_ID + 1, shape.vocab_size, size)
        rows[random.random(size) < 1 / DOCUMENT_TOKENS] = END_ID
        step = train_step(
            engine,
            [batch_of(micro, END_ID, document_mask=True) for micro in rows],
            lr=1e-3,
            model=config.model,
            previous_counts=results[-1].expert_counts if results else None,
            device=device,
            stop=False,
        )
        results.append(step)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--updates", type=int, default=3)
    number = parser.parse_args().updates
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    join(ALONE, device)
    results = updates(load(CONFIG, OVERRIDES), number, device)
    exact = {
        "losses": [result.loss.hex() for result in results],
        "grad_norms": [float(result.grad_norm).hex() for result in results],
    }
    print(json.dumps(exact), flush=True)
    os._exit(0)  # past what the process group does at exit


if __name__ == "__main__":
    main()
