"""A sweep as a Slurm array of parts: submitted where there is a Slurm, else the command to do so."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pretrain.sweep.plan import Plan

PACKAGE = Path(__file__).parents[1]
INSTALLED = PACKAGE / "launch"
LAUNCH = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "launch"  # the latter in a checkout
MAX_PARTS = 1000  # what Slurm allows in an array unless it was told otherwise


def command(name: str, options: Sequence[str], plan: Plan) -> list[str]:
    """A part for each trunk, or for each group of settings that is extended together."""
    parts = min(plan.num_units, MAX_PARTS)
    return ["sbatch", f"--array=1-{parts}", str(LAUNCH / "slurm" / "sweep.sbatch"), name, *options]


def submit(words: Sequence[str]) -> int:
    """Run it where there is an sbatch, else print it for where there is one; the exit code."""
    if shutil.which(words[0]):
        return subprocess.run(words).returncode
    print(shlex.join(words))
    return 0
