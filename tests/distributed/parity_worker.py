"""One rank of the comparison with the plain engine alone: many engines, one process, figures as JSON lines.

    parity_worker.py OUT UPDATES CASE...

CASE is MODEL:PRECISION:ENGINE, such as moe:bf16:3-offload. On one rank `torch` is the oracle: its losses,
states and routing go to OUT, and every other case is compared with them. Each is run twice: freely, where a
difference lives on, and for a few updates from the oracle's own state, where nothing can pile up.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from changing_worker import OPTIMIZER as CHANGING
from changing_worker import build
from engine_worker import CPU, END, LENGTH, LR, MICRO, MODELS, MUP, VOCABULARY, shape_of, state_of
from routing import Routes, first_flip

from megatron_lite.model.options import ModelOptions
from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import groups
from megatron_lite.optim.second_moment import second_moment
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine, Kind
from pretrain.loop.build import initial_state
from pretrain.loop.step import StepResult, train_step
from pretrain.ranks import Ranks, join

MICRO_BATCHES = 12  # divides by 1, 2, 3 and 4 ranks
BATCH_TOKENS = MICRO_BATCHES * MICRO * LENGTH
OPTIMIZER = CHANGING.model_copy(update={"clip": 0.25})  # less than the norm of every update
BATCHES = 8  # different ones, again and again, so that there is something to learn
COMPARED = 3  # updates after which every tensor is compared
KINDS: tuple[Kind, ...] = ("exp_avg", "exp_avg_sq", "weight")
Seen = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one engine is tried as."""

    model: str
    precision: str
    engine: str

    @classmethod
    def parse(cls, text: str) -> Case:
        model, precision, engine = text.split(":")
        return cls(model=model, precision=precision, engine=engine)


def micro_batches(update: int, ranks: Ranks) -> list[Batch]:
    """This rank's share: the counts of valid tokens differ, and one micro-batch has none."""
    rows = np.random.default_rng(update % BATCHES).integers(4, VOCABULARY, (MICRO_BATCHES, MICRO, LENGTH + 1))
    for index in range(MICRO_BATCHES):
        rows[index, :, 3 : 3 + index] = END
    rows[7] = END
    return [batch_of(micro, END, document_mask=True) for micro in rows[ranks.rank :: ranks.size]]


def update(
    engine: Engine, model: ModelOptions, number: int, ranks: Ranks, counts: list[list[int]] | None
) -> StepResult:
    """Update `number`, from 0; `counts`: the expert use that the balance loss looks back at."""
    return train_step(
        engine,
        micro_batches(number, ranks),
        lr=LR,
        model=model,
        previous_counts=counts,
        device=CPU,
        stop=False,
        second_moment=second_moment(
            OPTIMIZER, step=number + 1, tokens_before=number * BATCH_TOKENS, batch_tokens=BATCH_TOKENS
        ),
    )


def run_freely(engine: Engine, case: Case, updates: int, seed: int, ranks: Ranks) -> Seen:
    model = MODELS[case.model]
    engine.load(initial_state(shape_of(model), MUP, seed), updates=0)
    audit(groups(shape_of(model), MUP, OPTIMIZER.weight_decay), engine.groups())
    seen: Seen = {"losses": [], "norms": [], "counts": [None], "states": [state_of(engine)], "routes": []}
    routes = Routes(engine)
    for number in range(updates):
        result = update(engine, model, number, ranks, seen["counts"][-1])
        seen["losses"].append(result.loss)
        seen["norms"].append(result.grad_norm)
        seen["counts"].append(result.expert_counts)
        seen["routes"].append(routes.take(ranks))
        if number < COMPARED:
            seen["states"].append(state_of(engine))
    routes.close()
    return seen


def run_from(oracle: Seen, engine: Engine, model: ModelOptions, ranks: Ranks) -> dict[str, Any]:
    """Single updates, each from the oracle's state: the largest difference of what they made."""
    found = {}
    for number in range(COMPARED):
        state = oracle["states"][number]
        engine.load(lambda kind, name, state=state: state[f"{kind} {name}"], updates=number)
        audit(groups(shape_of(model), MUP, OPTIMIZER.weight_decay), engine.groups())
        result = update(engine, model, number, ranks, oracle["counts"][number])
        found[number + 1] = worst(state_of(engine), oracle["states"][number + 1]) | {
            "norm": relative(result.grad_norm, oracle["norms"][number])
        }
    return {key: max((entry[key] for entry in found.values()), key=largest) for key in (*KINDS, "norm")}


def largest(found: Any) -> float:
    return found[0] if isinstance(found, (tuple, list)) else found


def relative(value: float, expected: float) -> float:
    return abs(value - expected) / abs(expected)


def worst(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    """By kind, the largest difference relative to its tensor's largest value, and which tensor."""
    assert state.keys() == expected.keys()
    apart = {
        key: float((state[key] - expected[key]).abs().max() / expected[key].abs().max()) for key in state
    }
    return {
        kind: max((apart[key], key.split(" ")[1]) for key in apart if key.startswith(f"{kind} "))
        for kind in KINDS
    }


def rounded_otherwise(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> int:
    """Weights whose bf16 copies differ."""
    weights = [key for key in state if key.startswith("weight ")]
    return sum(int((state[key].bfloat16() != expected[key].bfloat16()).sum()) for key in weights)


def compare(seen: Seen, oracle: Seen) -> dict[str, Any]:
    pairs = list(zip(seen["states"], oracle["states"], strict=True))
    losses = [abs(loss - expected) for loss, expected in zip(seen["losses"], oracle["losses"], strict=False)]
    return {
        "updates": len(losses),
        "norm": max(map(relative, seen["norms"][:COMPARED], oracle["norms"])),
        "states": [worst(*pair) for pair in pairs[1:]],
        "rounded_otherwise": [rounded_otherwise(*pair) for pair in pairs[1:]],
        "losses": losses,
        "loss": max(losses),
        "first_flip": first_flip(seen["routes"], oracle["routes"]),
        "clipped": sum(norm > (OPTIMIZER.clip or 0) for norm in oracle["norms"]),
    }


def try_case(case: Case, out: Path, updates: int, ranks: Ranks) -> dict[str, Any] | None:
    started, model = time.monotonic(), MODELS[case.model]
    engine = build(case.engine, model, case.precision, MICRO_BATCHES // ranks.size, ranks, OPTIMIZER)
    audit(groups(shape_of(model), MUP, OPTIMIZER.weight_decay), engine.groups())
    saved = out / f"{case.model}-{case.precision}.pt"
    if case.engine == "torch" and ranks.size == 1:
        other = run_freely(engine, case, updates, 1, ranks)  # how far apart two runs of one recipe are
        torch.save(run_freely(engine, case, updates, 0, ranks) | {"other": other["losses"]}, saved)
        return None
    oracle = torch.load(saved, weights_only=True)
    found = compare(run_freely(engine, case, updates, 0, ranks), oracle)
    found["from_its_state"] = run_from(oracle, engine, model, ranks)
    return asdict(case) | {"ranks": ranks.size} | found | {"seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    out, updates, *cases = sys.argv[1:]
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    ranks = Ranks(
        rank=rank, size=size, local_rank=rank, local_size=size, address=address, port=port, served=served
    )
    join(ranks, CPU)
    Path(out).mkdir(parents=True, exist_ok=True)
    for text in cases:
        found = try_case(Case.parse(text), Path(out), int(updates), ranks)
        if ranks.first and found:
            with (Path(out) / f"ranks-{size}.jsonl").open("a") as file:
                file.write(json.dumps(found) + "\n")
        gc.collect()
    dist.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
