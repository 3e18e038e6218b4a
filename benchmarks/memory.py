"""Peak memory of a rank on a CPU against what `pretrain plan` says, for every ZeRO stage.

    torchrun --nproc_per_node N benchmarks/memory.py PRECISION ENGINE STAGE [--json]

STAGE is a ZeRO stage, with `-offload` after it where the optimizer lives on the CPU.

    for case in "bf16 deepspeed 1" "bf16 deepspeed 3" "fp32 torch 0"; do
        torchrun --nproc_per_node 2 benchmarks/memory.py $case; done

Resident memory counts what libraries load as well: a first small engine loads them before the count begins.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from pretrain.config.derive import micro_steps, model_shape  # noqa: E402
from pretrain.config.load import load  # noqa: E402
from pretrain.config.schema import Config  # noqa: E402
from pretrain.data.batch import batch_of  # noqa: E402
from pretrain.loop.build import build_engine, set_state  # noqa: E402
from pretrain.loop.step import train_step  # noqa: E402
from pretrain.memory import memory  # noqa: E402
from pretrain.ranks import Ranks, join  # noqa: E402

CPU = torch.device("cpu")
BATCH = ["batch.sequences=4", "batch.micro_sequences=1", "batch.sequence_length=64"]
LARGE = [
    "model.hidden_size=512",
    "model.num_attention_heads=8",
    "model.num_key_value_heads=8",
    "model.intermediate_size=2048",
    "model.num_hidden_layers=12",
]


def train_two_updates(config: Config, ranks: Ranks) -> None:
    shape = model_shape(config)
    engine = build_engine(config, shape, ranks, CPU)
    set_state(engine, config, shape, None)
    for seed in range(2):
        rows = np.random.default_rng(seed).integers(
            0, shape.vocab_size, (1, config.batch.sequence_length + 1)
        )
        train_step(
            engine,
            [batch_of(rows, 3, document_mask=True)] * micro_steps(config.batch, ranks.size),
            lr=1e-3,
            model=config.model,
            previous_counts=None,
            device=CPU,
            stop=False,
        )


def resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(field)


def measure(precision: str, engine: str, stage: str, ranks: Ranks) -> tuple[int, int]:
    """Bytes at the peak, and bytes planned."""
    number, *offload = stage.split("-")
    zero = {"stage": int(number)} | ({"offload_optimizer": {"device": "cpu"}} if offload else {})
    section = json.dumps({"zero_optimization": zero, "zero_force_ds_cpu_optimizer": False})
    case = [f"run.precision={precision}", f"run.engine={engine}", f"deepspeed={section}"]
    train_two_updates(load("tiny_dense", [*BATCH, *case]), ranks)
    config = load("tiny_dense", [*BATCH, *LARGE, *case])
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    train_two_updates(config, ranks)
    return resident("VmHWM") - before, _planned(config, ranks)


def _planned(config: Config, ranks: Ranks) -> int:
    """Of all parts but the copy of a save, since nothing is saved here."""
    parts = memory(config, model_shape(config), ranks.size, on_host=True)
    return parts.total - parts.checkpoint_copy


def main() -> None:
    precision, engine, stage, *as_json = sys.argv[1:]
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    ranks = Ranks(
        rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=port, served=True
    )
    torch.set_num_threads(1)
    join(ranks, CPU)
    measured, planned = measure(precision, engine, stage, ranks)
    if ranks.first:
        sizes = f"measured {measured / 2**20:6.0f} MiB, planned {planned / 2**20:6.0f} MiB"
        text = f"{precision} {engine} ZeRO {stage}, {size} rank(s): {sizes}, ratio {measured / planned:.2f}"
        print(json.dumps({"measured_bytes": measured, "planned_bytes": planned}) if as_json else text)
    sys.stdout.flush()
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
