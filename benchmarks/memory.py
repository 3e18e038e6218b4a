"""Peak memory of a rank on a CPU against what `pretrain plan` says, for every ZeRO stage.

    torchrun --nproc_per_node N benchmarks/memory.py PRECISION ENGINE STAGE [--freed returned] [--json]

STAGE is a ZeRO stage, with `-offload` after it where the optimizer lives on the CPU.

    for case in "bf16 deepspeed 1" "bf16 deepspeed 3" "fp32 torch 0"; do
        torchrun --nproc_per_node 2 benchmarks/memory.py $case; done

Resident memory counts what libraries load as well: a first small engine loads them before the count begins.
It counts what malloc keeps, too: freed blocks are `kept` as in a run, where holes stay that no later block
fits. Where they are `returned` the figure is what is in use, the same every time.
"""

from __future__ import annotations

import argparse
import ctypes
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
from pretrain.machine import MMAP_THRESHOLD, TRIM_THRESHOLD, use_cores  # noqa: E402
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


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("precision", choices=["bf16", "fp32"])
    parser.add_argument("engine", choices=["deepspeed", "torch"])
    parser.add_argument("stage", help="a ZeRO stage; 3-offload: the optimizer on the CPU")
    parser.add_argument("--freed", choices=["kept", "returned"], default="kept", help="freed memory")
    parser.add_argument("--json", action="store_true", help="one JSON value on standard output")
    return parser.parse_args()


def return_freed_memory() -> None:
    """Have glibc's malloc give every large block its own pages, which go back when it is freed."""
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_THRESHOLD, 2**16)
    libc.mallopt(TRIM_THRESHOLD, 0)


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
    options = parsed()
    case = options.precision, options.engine, options.stage
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    ranks = Ranks(
        rank=rank, size=size, local_rank=rank, local_size=size, address="127.0.0.1", port=port, served=True
    )
    if options.freed == "kept":
        use_cores(ranks, CPU)
    else:
        return_freed_memory()
    torch.set_num_threads(1)
    join(ranks, CPU)
    measured, planned = measure(*case, ranks)
    if ranks.first:
        sizes = f"measured {measured / 2**20:6.0f} MiB, planned {planned / 2**20:6.0f} MiB"
        name = "{} {} ZeRO {}".format(*case)
        text = f"{name}, {size} rank(s): {sizes}, ratio {measured / planned:.2f}"
        print(json.dumps({"measured_bytes": measured, "planned_bytes": planned}) if options.json else text)
    sys.stdout.flush()
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
