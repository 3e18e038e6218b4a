"""Peak memory of a forward and backward pass by activation checkpointing, beside what `pretrain plan` says.

    python benchmarks/activation_memory.py

What is held at the peak beyond the weights and their gradients, which are there before, each figure in a
process of its own:

    alive     what is in use: on a CPU malloc gives freed blocks back, on a GPU it is max_memory_allocated
    in a run  with the freed blocks that are kept for later, as a run does; on a GPU max_memory_reserved

Blocks of the decoder are not compiled: a compiler chooses by itself what it keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

if TYPE_CHECKING:
    from pretrain.config.schema import Config

WAYS = ("none", "selective", "full")
FREED = ("returned", "kept")
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}  # of glibc
COMMON = (
    "model.num_hidden_layers=12",
    "model.hidden_size=512",
    "model.num_attention_heads=8",
    "model.num_key_value_heads=4",
    "model.vocab_size=8192",
    "mup.enabled=false",
    "kernels.compile=none",
)
SHAPES = {
    "dense": ("tiny_dense", *COMMON, "model.intermediate_size=1408"),
    "moe": (
        "tiny_moe",
        *COMMON,
        "model.intermediate_size=256",
        "model.num_local_experts=16",
        "model.num_experts_per_tok=4",
    ),
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--length", type=int, default=1024, help="tokens of a sequence")
    parser.add_argument("--shape", choices=["all", *SHAPES], default="all")
    parser.add_argument("--dtype", choices=["all", "bf16", "fp32"], default="all")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads on a CPU (default: one a core)")
    parser.add_argument(
        "--products", choices=["auto", "given", "fp32"], default="auto", help="kernels.products"
    )
    parser.add_argument("--json", action="store_true", help="one JSON value on standard output")
    parser.add_argument("--only", choices=WAYS, help="measure one, in this process")
    parser.add_argument("--freed", choices=FREED, default="kept", help="what becomes of freed memory (CPU)")
    return parser.parse_args()


def configured(options: argparse.Namespace) -> Config:
    """A run of this shape, precision and way."""
    from pretrain.config.load import load

    name, *shape = SHAPES[options.shape]
    values = {
        "batch.micro_sequences": options.sequences,
        "batch.sequences": options.sequences,
        "batch.sequence_length": options.length,
        "model.max_position_embeddings": options.length,
        "run.precision": options.dtype,
        "kernels.products": options.products,
        "kernels.activation_checkpointing": options.only,
    }
    return load(name, [*shape, *(f"{key}={value}" for key, value in values.items())])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes at the peak, bytes estimated, and the time, of one forward and backward pass."""
    import time

    import torch
    from speed.resident import Memory

    from megatron_lite.model.documents import documents
    from pretrain.config.derive import model_shape
    from pretrain.loop.build import build_model, kernel_choice
    from pretrain.machine import use_cores
    from pretrain.memory import memory as planned
    from pretrain.ranks import Ranks

    device, config = torch.device(options.device), configured(options)
    if options.freed == "kept":
        use_cores(Ranks(rank=0, size=1, local_rank=0, local_size=1, address="", port=0), device)
    if options.threads:
        torch.set_num_threads(options.threads)
    shape, choice = model_shape(config), kernel_choice(config, device)
    model = build_model(shape, options.dtype, device, choice.kernels)
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
        weight.grad = torch.empty_like(weight).zero_()  # touched, so that it is resident
    tokens_BS = torch.randint(shape.vocab_size, (options.sequences, options.length))

    def once(tokens_BS: torch.Tensor) -> float:
        tokens_T = tokens_BS.flatten().to(device)
        out = model(tokens_T, tokens_T, documents(tokens_BS, None).to(device))
        torch.stack([tensor.sum() for tensor in out.values()]).sum().backward()
        return out["loss_sum"].item()

    once(tokens_BS[:1, :64].contiguous())  # libraries load before the count begins
    memory = Memory(device)
    memory.release()
    before = memory.now()
    memory.reset_peak()
    begin = time.perf_counter()
    once(tokens_BS)
    seconds = time.perf_counter() - begin
    peak = memory.peak()
    if memory.on_gpu and options.freed == "kept":
        peak = torch.cuda.max_memory_reserved(device)
    return {
        "shape": options.shape,
        "dtype": options.dtype,
        "checkpointing": options.only,
        "peak_bytes": peak - before,
        "estimated_bytes": planned(config, shape, 1).activations,
        "seconds": seconds,
        "kernels": choice.reasons,
    }


def in_processes(shape: str, dtype: str, way: str) -> dict[str, Any]:
    """The same, asked of other processes with the same arguments: what is alive, and what a run holds."""
    given = [word for word in sys.argv[1:] if word != "--json"]
    asked = ["--only", way, "--shape", shape, "--dtype", dtype]
    found = {}
    for freed in FREED:
        command = [sys.executable, __file__, *given, *asked, "--freed", freed]
        surroundings = os.environ | (RETURNING if freed == "returned" else {})
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=surroundings)
        found[freed] = json.loads(ended.stdout)
    alive = found["returned"].pop("peak_bytes")
    in_a_run = found["kept"].pop("peak_bytes")
    return found["kept"] | {"alive_bytes": alive, "in_a_run_bytes": in_a_run}


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    title = f"12 layers x 512, {options.sequences} x {options.length} tokens, {options.device}; MiB"
    table = Table(title=title, title_justify="left")
    columns = ("shape", "dtype", "checkpointing", "estimated", "alive", "ratio", "in a run", "seconds")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        sizes = [one[f"{name}_bytes"] / 2**20 for name in ("estimated", "alive", "in_a_run")]
        estimated, alive, in_a_run = sizes
        figures = f"{estimated:.0f}", f"{alive:.0f}", f"{alive / estimated:.2f}", f"{in_a_run:.0f}"
        table.add_row(one["shape"], one["dtype"], one["checkpointing"], *figures, f"{one['seconds']:.2f}")
    Console().print(table)


def main() -> None:
    options = parsed()
    if options.only:
        print(json.dumps(measure(options)))
        return
    shapes = tuple(SHAPES) if options.shape == "all" else (options.shape,)
    dtypes = ("fp32", "bf16") if options.dtype == "all" else (options.dtype,)
    found = [in_processes(shape, dtype, way) for shape in shapes for dtype in dtypes for way in WAYS]
    if options.json:
        print(json.dumps(found))
    else:
        show(found, options)


if __name__ == "__main__":
    main()
