"""Start a pretraining run: what deepspeed, torchrun, srun, mpirun and plain python all execute.

    deepspeed launch/pretrain.py --config tiny_moe.yaml
    torchrun --nproc_per_node 2 launch/pretrain.py --config tiny_moe.yaml
    srun python launch/pretrain.py --config 3b_moe.yaml
    mpirun python launch/pretrain.py --config 3b_moe.yaml
    python launch/pretrain.py --config tiny_dense run.name=first optimizer.weight_decay=0.05

The environment is read here and nowhere below: the run is handed its place among the ranks as a value.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Python puts this script's own folder first on the import path, where `pretrain` would be this very
# file. The folder that holds the package belongs there instead: the repository root, or site-packages.
HERE = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:
    sys.path[0] = str(next(folder for folder in HERE.parents if (folder / "pretrain").is_dir()))

from pretrain.guard.signals import StopRequests  # noqa: E402

if __name__ == "__main__":
    REQUESTS = StopRequests()  # a signal that comes while the rest is imported is heard

from pretrain.errors import UserError  # noqa: E402
from pretrain.layout import ranks_from  # noqa: E402


def main(requests: StopRequests) -> None:
    """Prepare the process for torch, then run."""
    # Threads that spin while they wait starve other ranks on a CPU. Read when torch loads, so set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from pretrain.main import main as run

    # Threads of gloo and of trackers can abort an interpreter that shuts down: everything is flushed, leave.
    try:
        code = run(sys.argv[1:], ranks_from(os.environ), requests)
    except UserError as mistake:
        print(f"\n{mistake}", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(REQUESTS)
