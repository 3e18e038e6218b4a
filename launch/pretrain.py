"""Start a pretraining run: what deepspeed, torchrun, srun and plain python all execute.

    deepspeed launch/pretrain.py --config tiny_moe.yaml
    torchrun --nproc_per_node 2 launch/pretrain.py --config tiny_moe.yaml
    srun python launch/pretrain.py --config 3b_moe.yaml
    python launch/pretrain.py --config tiny_dense run.name=first optimizer.weight_decay=0.05

The environment is read here and nowhere below: the run is handed its place among the ranks as a value.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

# Python puts this script's own folder first on the import path, where `pretrain` would be this very
# file. The folder that holds the package belongs there instead: the repository root, or site-packages.
HERE = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:
    sys.path[0] = str(next(folder for folder in HERE.parents if (folder / "pretrain").is_dir()))

from pretrain.ranks import Ranks  # noqa: E402


def ranks_from(environ: Mapping[str, str]) -> Ranks:
    """This process's place among all: torchrun's and deepspeed's variables, else Slurm's, else alone."""
    if "RANK" in environ and "WORLD_SIZE" in environ:
        local = environ.get("LOCAL_WORLD_SIZE") or environ.get("LOCAL_SIZE") or environ["WORLD_SIZE"]
        return Ranks(
            rank=int(environ["RANK"]),
            size=int(environ["WORLD_SIZE"]),
            local_rank=int(environ.get("LOCAL_RANK", 0)),
            local_size=int(local),
            address=environ.get("MASTER_ADDR", "127.0.0.1"),
            port=int(environ.get("MASTER_PORT", 29500)),
            served=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=int(environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
        )
    if int(environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environ:
        nodes = int(environ.get("SLURM_JOB_NUM_NODES", 1))
        return Ranks(
            rank=int(environ["SLURM_PROCID"]),
            size=int(environ["SLURM_NTASKS"]),
            local_rank=int(environ.get("SLURM_LOCALID", 0)),
            local_size=int(environ["SLURM_NTASKS"]) // nodes,
            address=environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_STEP_NODELIST", "127.0.0.1")),
            port=int(environ.get("MASTER_PORT", 20000 + int(environ.get("SLURM_JOB_ID", 0)) % 20000)),
        )
    return Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)


def first_host(nodes: str) -> str:
    """The first of Slurm's list of nodes: `gpu[03-05,9],cpu1` begins with `gpu03`."""
    found = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    return "".join(found.groups(default="")) if found else nodes


def main() -> None:
    """Prepare the process for torch, then run."""
    # Threads that spin while they wait starve other ranks on a CPU. Read when torch loads, so set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from pretrain.main import main as run

    # Threads of gloo and of trackers can abort an interpreter that shuts down: everything is flushed, leave.
    code = run(sys.argv[1:], ranks_from(os.environ))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
