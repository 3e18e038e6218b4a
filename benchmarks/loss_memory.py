"""Peak memory of the language-model loss, in chunks and with all logits at once.

    python benchmarks/loss_memory.py

Each figure is that of a process of its own: what is held at the peak of forward and backward beyond what
was held before, without the gradients of the hidden states and of the head, which any way has to give.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

SCALING, IGNORE = 6.0, -100


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--hidden", type=int, default=1536)
    parser.add_argument("--dtype", choices=["all", "bf16", "fp32"], default="all")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads on a CPU (default: one a core)")
    parser.add_argument("--json", action="store_true", help="one JSON value on standard output")
    parser.add_argument("--only", choices=["chunked", "materialised"], help="measure one, in this process")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes at the peak, and the time, of one forward and backward pass in this process."""
    import time
    from functools import partial

    import torch
    from speed.resident import Memory

    from megatron_lite.kernels import cross_entropy
    from megatron_lite.kernels.choice import choose
    from megatron_lite.kernels.options import KernelOptions
    from pretrain.loop.build import DTYPES

    if options.threads:
        torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    wide = choose(KernelOptions(), device, dtype).kernels.wide_products
    ways: dict[str, Callable[..., torch.Tensor]] = {
        "chunked": partial(cross_entropy.linear_cross_entropy, wide=wide),  # as the decoder calls it
        "materialised": cross_entropy.linear_cross_entropy_reference,
    }
    loss_of = ways[options.only]
    torch.manual_seed(0)
    x_TH = torch.randn(options.tokens, options.hidden, device=device).to(dtype).requires_grad_()
    head_VH = torch.randn(options.vocabulary, options.hidden, device=device).mul_(0.02).to(dtype)
    head_VH.requires_grad_()
    targets_T = torch.randint(options.vocabulary, (options.tokens,), device=device)

    def once(x_TH: torch.Tensor, head_VH: torch.Tensor, targets_T: torch.Tensor) -> float:
        loss = loss_of(x_TH, head_VH, targets_T, scaling=SCALING, ignore=IGNORE) / len(targets_T)
        loss.backward()
        return loss.item()

    # libraries load and compile their kernels before the count begins
    few = slice(0, 64)
    once(x_TH.detach()[few].requires_grad_(), head_VH.detach()[few].requires_grad_(), targets_T[few] % 64)
    memory = Memory(device)
    before = memory.now()
    memory.reset_peak()
    begin = time.perf_counter()
    loss = once(x_TH, head_VH, targets_T)
    seconds = time.perf_counter() - begin
    assert x_TH.grad is not None
    assert head_VH.grad is not None
    gradients = x_TH.grad.nbytes + head_VH.grad.nbytes
    return {
        "way": options.only,
        "dtype": options.dtype,
        "beyond_bytes": memory.peak() - before - gradients,
        "gradient_bytes": gradients,
        "logits_bytes": 4 * options.tokens * options.vocabulary,
        "loss": loss,
        "seconds": seconds,
    }


def in_a_process(way: str, dtype: str) -> dict[str, Any]:
    """The same, asked of another process with the same arguments."""
    given = [word for word in sys.argv[1:] if word != "--json"]
    command = [sys.executable, __file__, *given, "--only", way, "--dtype", dtype]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    title = f"{options.tokens} tokens x vocabulary {options.vocabulary}, hidden {options.hidden}; MiB"
    table = Table(title=title, title_justify="left")
    for column in ("dtype", "loss", "beyond", "gradients", "fp32 logits", "nats", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        sizes = [f"{one[key] / 2**20:.0f}" for key in ("beyond_bytes", "gradient_bytes", "logits_bytes")]
        table.add_row(one["dtype"], one["way"], *sizes, f"{one['loss']:.5f}", f"{one['seconds']:.2f}")
    Console().print(table)


def main() -> None:
    options = parsed()
    if options.only:
        print(json.dumps(measure(options)))
        return
    dtypes = ("bf16", "fp32") if options.dtype == "all" else (options.dtype,)
    found = [in_a_process(way, dtype) for dtype in dtypes for way in ("chunked", "materialised")]
    if options.json:
        print(json.dumps(found))
    else:
        show(found, options)


if __name__ == "__main__":
    main()
