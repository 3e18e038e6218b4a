"""Whether a Slurm job that has ended is queued again: after a save or a crash, as long as the run gets on.

    python again.py ask --job 17 --code 75 --most 10 -- --config 3b_moe ...        exit code 0: queue it again

What was answered is kept as lines of `slurm.jsonl` in the run folder, by which the next answer is bounded. An
attempt that Slurm queues again of itself, after a preemption or the loss of a node, never asks, nor counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

# From a checkout or from site-packages: the folder that holds the package, as for launch/pretrain.py.
HERE = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:
    sys.path[0] = str(next(folder for folder in HERE.parents if (folder / "pretrain").is_dir()))

from pretrain.config.load import load  # noqa: E402
from pretrain.config.schema import Config  # noqa: E402
from pretrain.errors import UserError  # noqa: E402
from pretrain.guard.restarts import MISTAKE, newest_step  # noqa: E402
from pretrain.main import parse  # noqa: E402
from pretrain.monitor.status import read_status  # noqa: E402

INTERRUPTED = 130  # before training began: a person's wish
FILE = "slurm.jsonl"


def why_not(config: Config, earlier: Sequence[dict[str, int]], code: int, most: int) -> str | None:
    """The reason to leave the job ended, or None. `earlier`: what this job asked before."""
    folder, status = config.run.folder, read_status(config.run.folder)
    if code in (MISTAKE, INTERRUPTED):
        return f"exit code {code} is for a person"
    if code == 0 and (status is None or status.state != "continue"):
        return f"the run is {status.state if status else 'not begun'}"
    if code == 0 and (folder / config.guard.stop_file).exists():
        return f"{folder / config.guard.stop_file} exists"
    if earlier and newest_step(folder) <= earlier[-1]["step"]:
        return f"no checkpoint since the last time: still at step {newest_step(folder)}"
    if code != 0 and sum(line["code"] != 0 for line in earlier) >= most:
        return f"it was started again after {most} crashes already"
    return None


def ask(config: Config, job: int, code: int, most: int) -> int:
    """Answer by the exit code, 0 for yes and 1 for no, with the reason on standard error."""
    path = config.run.folder / FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    reason = why_not(config, [line for line in lines if line["job"] == job], code, most)
    if reason:
        print(f"Not queued again (exit code {code}): {reason}.", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    step = newest_step(config.run.folder)
    with path.open("a") as file:
        file.write(json.dumps({"job": job, "code": code, "step": step}) + "\n")
    print(f"Queued again (exit code {code}) after step {step}.", file=sys.stderr)
    return 0


def main(words: Sequence[str]) -> int:
    """Answer what `words` ask; the exit code."""
    parser = argparse.ArgumentParser(prog="again.py", description=__doc__)
    question = parser.add_subparsers(dest="question", required=True).add_parser("ask")
    for name in ("--job", "--code", "--most"):
        question.add_argument(name, type=int, required=True)
    question.add_argument("run", nargs="*", help="the arguments of launch/pretrain.py, behind --")
    options = parser.parse_args(words)
    run = parse(options.run)
    try:
        config = load(run.config, run.overrides)
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    return ask(config, options.job, options.code, options.most)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
