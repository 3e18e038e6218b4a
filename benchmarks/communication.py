"""The collectives of one update of the real engines, counted in a process group of ranks that are not there.

    python benchmarks/communication.py [--ranks 256] [--passes 2] [--few] [--json]

torch's `fake` backend takes every collective and sends nothing: this process is rank 0 of RANKS. The model is
small; the thresholds under which ZeRO 3 keeps weights whole are set to 0 where nothing is to be kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from pretrain.communication import communication  # noqa: E402
from pretrain.config.derive import model_shape  # noqa: E402
from pretrain.config.load import load  # noqa: E402
from pretrain.config.schema import Config  # noqa: E402
from pretrain.data.batch import batch_of  # noqa: E402
from pretrain.loop.build import build_engine, set_state  # noqa: E402
from pretrain.loop.step import train_step  # noqa: E402
from pretrain.ranks import Ranks  # noqa: E402

DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
COLLECTIVES = {
    "allreduce_": "all_reduce",
    "_allgather_base_": "all_gather",
    "_reduce_scatter_base_": "reduce_scatter",
    "reduce_": "reduce",
}
SCALARS = 64  # elements: losses, norms, counts of valid tokens and of experts
WITH_OP = ("all_reduce", "reduce", "reduce_scatter_tensor")
NOTHING_KEPT = {
    "stage3_param_persistence_threshold": 0,
    "stage3_max_reuse_distance": 0,
    "stage3_prefetch_bucket_size": 0,
}
Case = tuple[str, str, str, dict[str, Any]]  # config, precision, engine, zero_optimization
FEW: list[Case] = [
    ("tiny_moe", "fp32", "torch", {}),
    ("tiny_moe", "fp32", "deepspeed", {"stage": 0}),
    ("tiny_moe", "bf16", "deepspeed", {"stage": 1}),
    ("tiny_dense", "bf16", "deepspeed", {"stage": 2}),
    ("tiny_moe", "bf16", "deepspeed", {"stage": 3} | NOTHING_KEPT),
]
CASES: list[Case] = [
    ("tiny_moe", "fp32", "torch", {}),
    *(("tiny_moe", "fp32", "deepspeed", {"stage": stage}) for stage in range(4)),
    *(("tiny_moe", "bf16", "deepspeed", {"stage": stage}) for stage in range(1, 4)),
    ("tiny_moe", "bf16", "deepspeed", {"stage": 2, "use_multi_rank_bucket_allreduce": False}),
    *(
        ("tiny_moe", "bf16", "deepspeed", {"stage": stage, "offload_optimizer": {"device": "cpu"}})
        for stage in range(1, 4)
    ),
    ("tiny_moe", "bf16", "deepspeed", {"stage": 3, "stage3_param_persistence_threshold": 0}),
    ("tiny_moe", "bf16", "deepspeed", {"stage": 3} | NOTHING_KEPT),
    ("tiny_dense", "bf16", "deepspeed", {"stage": 3} | NOTHING_KEPT),
]


class Counted(TorchDispatchMode):
    """Every collective: its kind, type, operation, and elements of the whole tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str, str, int]] = []
        self.op = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
            name = func._schema.name.removeprefix("c10d::")
            whole = max(tensor.numel() for tensor in tensors) if tensors else 0
            dtype = str(tensors[0].dtype).removeprefix("torch.") if tensors else ""
            op = self.op if "reduce" in name else ""
            self.calls.append((COLLECTIVES.get(name, name), DTYPES.get(dtype, dtype), op, whole))
        return func(*args, **(kwargs or {}))

    def listen(self) -> None:
        """Note the operation, which is opaque by the time that the tensors pass."""

        def noted(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            op = kwargs.get("op", dist.ReduceOp.SUM)
            self.op = str(getattr(op, "op", op)).rsplit(".", 1)[-1]
            return call(*args, **kwargs)

        for name in WITH_OP:
            setattr(dist, name, partial(noted, getattr(dist, name)))


def config_of(
    name: str, precision: str, engine: str, zero: dict[str, Any], passes: int, ranks: int
) -> Config:
    size = f"batch.sequences={passes * ranks}", "batch.micro_sequences=1", "batch.sequence_length=32"
    section = f"deepspeed={json.dumps({'zero_optimization': zero, 'zero_force_ds_cpu_optimizer': False})}"
    return load(
        name,
        [*size, "model.num_hidden_layers=2", f"run.precision={precision}", f"run.engine={engine}", section],
    )


def count(config: Config, num_ranks: int, passes: int, counted: Counted) -> list[tuple[str, str, str, int]]:
    """The collectives of the third update: ZeRO 3 follows what it saw in the first."""
    shape, device = model_shape(config), torch.device("cpu")
    ranks = Ranks(rank=0, size=num_ranks, local_rank=0, local_size=num_ranks, address="", port=0)
    engine = build_engine(config, shape, ranks, device)
    set_state(engine, config, shape, None)
    rows = np.random.default_rng(0).integers(0, shape.vocab_size, (1, config.batch.sequence_length + 1))
    batches = [batch_of(rows, 3, document_mask=True)] * passes
    for _ in range(3):
        counted.calls.clear()
        with counted:
            train_step(
                engine,
                batches,
                lr=1e-3,
                model=config.model,
                previous_counts=None,
                device=device,
                stop=False,
            )
    return list(counted.calls)


def summed(calls: list[tuple[str, str, str, int]]) -> list[dict[str, Any]]:
    """By collective, type and operation: how many, and elements; scalars apart."""
    times: Counter[tuple[str, str, str, bool]] = Counter()
    elements: Counter[tuple[str, str, str, bool]] = Counter()
    for collective, dtype, op, size in calls:
        key = (collective, dtype, op, size <= SCALARS)
        times[key] += 1
        elements[key] += size
    names = ("collective", "dtype", "op", "scalar")
    return [
        dict(zip(names, key, strict=True)) | {"times": times[key], "elements": elements[key]} for key in times
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=256)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=options.ranks)
    counted = Counted()
    counted.listen()
    found = []
    for name, precision, engine, zero in FEW if options.few else CASES:
        config = config_of(name, precision, engine, zero, options.passes, options.ranks)
        shape = model_shape(config)
        planned = communication(config, shape, options.ranks, options.passes)
        entry = {"config": name, "precision": precision, "engine": engine, "zero": zero}
        calls = summed(count(config, options.ranks, options.passes, counted))
        found.append(entry | {"counted": calls, "planned": [asdict(exchange) for exchange in planned]})
    print(json.dumps(found) if options.json else "\n".join(map(line, found)))
    sys.stdout.flush()
    os._exit(0)


def line(entry: dict[str, Any]) -> str:
    """A row of the page's table."""
    kinds = "; ".join(
        f"{kind['times']} x {kind['collective']} {kind['dtype']} {kind['op']} {kind['elements']:,}".replace(
            "  ", " "
        )
        for kind in entry["counted"]
        if not kind["scalar"]
    )
    theory = "; ".join(
        f"{plan['collective']} {plan['dtype']} {plan['elements']:,}" for plan in entry["planned"]
    )
    return (
        f"| {entry['config']} {entry['precision']} {entry['engine']} {entry['zero']} | {kinds} | {theory} |"
    )


if __name__ == "__main__":
    main()
