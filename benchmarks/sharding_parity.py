"""Every ZeRO stage on 1 to 4 ranks against the plain engine alone, as a table.

    python benchmarks/sharding_parity.py OUT [--ranks 1 2 3 4] [--updates 50] [--engines torch 0 1 2 3]
                                             [--models dense moe] [--precisions fp32 bf16]
    python benchmarks/sharding_parity.py OUT --show

One start for each number of ranks; OUT keeps the figures as JSON lines. ENGINE is `torch` or a ZeRO stage,
with `-offload` after it where the optimizer lives on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKER = ROOT / "tests" / "distributed" / "parity_worker.py"
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "DS_ACCELERATOR": "cpu"}
HEADER = (
    "model, precision | engine | ranks | norm | first moment, first update | moments, 3 updates | weights | "
    "from its state | losses | routing"
)


def cases(options: argparse.Namespace, num_ranks: int) -> list[str]:
    """What is tried on so many ranks; bf16 under ZeRO 0 is refused by the config."""
    wanted = [
        f"{model}:{precision}:{engine}"
        for model in options.models
        for precision in options.precisions
        for engine in options.engines
        if (precision, engine) != ("bf16", "0") and (num_ranks, engine) != (1, "torch")
    ]
    oracles = [f"{model}:{precision}:torch" for model in options.models for precision in options.precisions]
    return oracles + wanted if num_ranks == 1 else wanted


def start(num_ranks: int, out: Path, updates: int, names: list[str]) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    command = [*launcher, str(num_ranks), str(WORKER), str(out), str(updates), *names]
    subprocess.run(command, check=True, env=os.environ | QUIET | {"PYTHONPATH": str(ROOT)})


def results(out: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for file in sorted(out.glob("*.jsonl")) for line in file.read_text().splitlines()
    ]


def row(found: dict[str, Any]) -> str:
    first, last = found["states"][0], found["states"][-1]
    alone = found["from_its_state"]
    values = (
        f"{found['model']}, {found['precision']}",
        found["engine"],
        str(found["ranks"]),
        f"{found['norm']:.0e}",
        f"{first['exp_avg'][0]:.0e}",
        f"{max(last['exp_avg'][0], last['exp_avg_sq'][0]):.0e}",
        f"{last['weight'][0]:.0e}",
        f"{max(value if key == 'norm' else value[0] for key, value in alone.items()):.0e}",
        f"{found['loss']:.0e}",
        found["first_flip"] or "same",
    )
    return "| " + " | ".join(values) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--engines", nargs="+", default=["torch", "0", "1", "2", "3"])
    parser.add_argument("--models", nargs="+", default=["dense", "moe"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    for num_ranks in [] if options.show else options.ranks:
        start(num_ranks, options.out, options.updates, cases(options, num_ranks))
    print(f"| {HEADER} |\n|{'---|' * (HEADER.count('|') + 1)}")
    print("\n".join(row(found) for found in results(options.out)))


if __name__ == "__main__":
    main()
