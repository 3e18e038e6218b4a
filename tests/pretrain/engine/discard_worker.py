"""One rank of the tests of updates that are left out: what an engine does with and without a discarded batch.

    discard_worker.py MODEL PRECISION ENGINE...

ENGINE is `torch` or a ZeRO stage, with `-offload` after it where the optimizer is to live on the CPU. Ends
with exit code 1 where a discarded batch leaves a trace, on any rank.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import resolve_shape
from megatron_lite.mup.groups import groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.batch import BatchOptions
from pretrain.data.batch import batch_of
from pretrain.engine.base import Engine
from pretrain.engine.deepspeed_config import deepspeed_config
from pretrain.engine.deepspeed_engine import DeepSpeedEngine
from pretrain.engine.options import DeepSpeedOptions
from pretrain.engine.torch_engine import TorchEngine
from pretrain.loop.build import build_model, initial_state
from pretrain.ranks import Ranks, join

VOCABULARY, MICRO, LENGTH, END = 96, 2, 16, 3
LR = 0.01
# hidden 60 and 3 heads: nothing divides evenly into 2 partitions, so that padding is at work
DENSE = ModelOptions(hidden_size=60, num_hidden_layers=2, num_attention_heads=3, intermediate_size=44)
MOE = ModelOptions(
    **DENSE.model_dump(exclude={"architecture"}, exclude_none=True),
    architecture="granitemoe",
    num_local_experts=5,
    num_experts_per_tok=2,
)
MODELS = {"dense": DENSE, "moe": MOE}
MUP = MupOptions(base_width=30, weight_decay_rule="scaled")
OPTIMIZER = AdamWOptions(clip=0.4)
CPU = torch.device("cpu")
State = dict[tuple[str, str], Tensor]


def build(name: str, model: ModelOptions, precision: str, ranks: Ranks) -> Engine:
    """An engine with the first state."""
    shape = resolve_shape(model, MUP, VOCABULARY)
    expected, decoder = groups(shape, MUP, OPTIMIZER.weight_decay), build_model(shape, precision, CPU)
    engine: Engine
    if name == "torch":
        engine = TorchEngine(decoder, expected, OPTIMIZER)
    else:
        stage, *offload = name.split("-")
        zero: dict[str, Any] = {"stage": int(stage)}
        zero |= {"offload_optimizer": {"device": "cpu"}} if offload else {}
        json_config = deepspeed_config(
            DeepSpeedOptions.model_validate(
                {"zero_optimization": zero, "zero_force_ds_cpu_optimizer": False}
            ),
            batch=BatchOptions(sequences=4, sequence_length=LENGTH, micro_sequences=MICRO),
            optimizer=OPTIMIZER,
            precision=precision,
            micro_steps=2,
            num_ranks=ranks.size,
        )
        engine = DeepSpeedEngine(decoder, expected, OPTIMIZER, json_config, ranks.local_rank)
    engine.load(initial_state(shape, MUP, seed=0), updates=0)
    return engine


def gradient(engine: Engine, update: int, micro_steps: int, ranks: Ranks, spoil: float = 1.0) -> float:
    """Accumulate a global batch of its own; the last rank's last objective is multiplied by `spoil`."""
    engine.accumulate(micro_steps)
    for micro_step in range(micro_steps):
        rows = np.random.default_rng((update, micro_step, ranks.rank)).integers(
            4, VOCABULARY, (MICRO, LENGTH + 1)
        )
        batch = batch_of(rows, END, document_mask=True)
        output = engine.forward(batch.tokens_T, batch.targets_T, batch.documents)
        objective = output["loss_sum"] / (micro_steps * ranks.size * MICRO * LENGTH)
        if "probability_sums_LE" in output:
            objective = objective + 1e-3 * output["probability_sums_LE"].square().mean()
        spoiled = micro_step == micro_steps - 1 and ranks.rank == ranks.size - 1
        engine.backward(objective * spoil if spoiled else objective)
    return engine.gradient_norm()


def state_of(engine: Engine) -> State:
    return {(kind, name): tensor.to("cpu", copy=True) for kind, name, tensor in engine.state()}


def assert_equal(found: State, expected: State, when: str) -> None:
    different = [key for key, tensor in found.items() if not torch.equal(tensor, expected[key])]
    assert not different, f"{when}: {len(different)} of {len(expected)} differ: {different[:3]}"


def without_a_trace(name: str, model: ModelOptions, precision: str, ranks: Ranks) -> None:
    """Updates among which some are discarded, beside the same updates alone."""
    seen, spared = (build(name, model, precision, ranks) for _ in range(2))
    started = state_of(seen)
    for engine in (seen, spared):
        gradient(engine, update=0, micro_steps=2, ranks=ranks)
        engine.step(LR)
    first = state_of(seen)
    assert not torch.equal(first["weight", "embedding"], started["weight", "embedding"])
    for update, micro_steps, spoil in ((1, 2, 1.0), (2, 3, math.nan), (3, 1, math.inf), (4, 1, 1e4)):
        norm = gradient(seen, update, micro_steps, ranks, spoil)
        assert math.isfinite(norm) == math.isfinite(spoil), f"{name}, rank {ranks.rank}: norm {norm}"
        seen.discard()
        assert_equal(state_of(seen), first, f"{name}, update {update} discarded")
        assert seen.finite(), name
    for update, micro_steps in ((5, 3), (6, 2)):
        norms = [gradient(engine, update, micro_steps, ranks) for engine in (seen, spared)]
        assert norms[0] == norms[1], f"{name}: {norms}"
        for engine in (seen, spared):
            engine.step(LR)
        assert_equal(state_of(seen), state_of(spared), f"{name}, after update {update}")


def loaded_in_place(name: str, model: ModelOptions, precision: str, ranks: Ranks) -> None:
    """An engine that goes back to an earlier state is one that was never further."""
    used, whole = (build(name, model, precision, ranks) for _ in range(2))
    for update in (0, 1):
        for engine in (used, whole):
            gradient(engine, update, 2, ranks)
            engine.step(LR)
    saved = state_of(used)
    gradient(used, 2, 1, ranks)
    used.step(LR)
    gradient(used, 3, 2, ranks, spoil=math.nan)
    used.discard()
    used.load(lambda kind, name: saved[kind, name], updates=2)
    assert_equal(state_of(used), saved, f"{name}, loaded in place")
    for engine in (used, whole):
        gradient(engine, 4, 3, ranks)
        engine.step(LR)
    assert_equal(state_of(used), state_of(whole), f"{name}, an update after it was loaded in place")


def a_weight_that_is_no_number(name: str, model: ModelOptions, precision: str, ranks: Ranks) -> None:
    """It is seen on every rank, also by those that do not hold it."""
    engine = build(name, model, precision, ranks)
    sound = state_of(engine)
    sound["weight", "embedding"][-1, -1] = math.nan
    engine.load(lambda kind, name: sound[kind, name], updates=0)
    assert not engine.finite(), f"{name}, rank {ranks.rank}"


def main() -> None:
    model, precision, *engines = sys.argv[1:]
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    ranks = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, address=address, port=port)
    join(ranks, CPU)
    for name in engines:
        for check in (without_a_trace, loaded_in_place, a_weight_that_is_no_number):
            check(name, MODELS[model], precision, ranks)
    torch.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
