"""Where the time of a training step goes, by kind of operator, as torch's profiler sees it.

    python benchmarks/profile_step.py --shape moe --dtype bf16

Shares of the operators' own time, the same step as in training_step.py.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from speed.cases import CASES  # noqa: E402
from speed.contenders import CONTENDERS  # noqa: E402
from speed.worker import Worker  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

WARMUP_STEPS, STEPS = 2, 3
KINDS = (  # the first whose words are in the operator's name
    ("attention", ("attention",)),
    ("matrix products", ("mm", "mv", "matmul", "linear")),
    ("optimizer and clipping", ("adam", "linalg_vector_norm", "foreach")),
    ("copies and casts", ("copy", "cat", "fill", "zero", "clone")),
    ("rows to experts and back", ("index", "embedding", "sort", "topk", "scatter", "gather")),
    ("softmax and its sums", ("softmax", "logsumexp", "exp")),
    (
        "norm, SwiGLU, rotation, residual, scaling",
        ("mul", "add", "div", "silu", "sum", "rsqrt", "sub", "neg"),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shape", choices=list(CASES), default="dense")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--contender", choices=list(CONTENDERS), default="ours", metavar="NAME")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    worker = Worker({**vars(asked), "precision": asked.dtype, "threads": None})
    worker.prepare(WARMUP_STEPS)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as seen:
        for _ in range(STEPS):
            worker.step()
    shares: dict[str, float] = defaultdict(float)
    for operator in seen.key_averages():
        own = operator.self_device_time_total if asked.device != "cpu" else operator.self_cpu_time_total
        shares[kind_of(operator.key)] += own
    table = Table("kind", "share of the time", title=f"{asked.shape}, {asked.dtype}, {asked.contender}")
    for kind, own in sorted(shares.items(), key=lambda item: -item[1]):
        table.add_row(kind, f"{own / sum(shares.values()):.0%}")
    Console().print(table)


def kind_of(operator: str) -> str:
    """The kind of an operator by its name; what no kind knows is Python and the dispatcher."""
    name = operator.lower()
    if name.startswith("cuda"):
        return "the rest"
    return next((kind for kind, words in KINDS if any(word in name for word in words)), "the rest")


if __name__ == "__main__":
    main()
